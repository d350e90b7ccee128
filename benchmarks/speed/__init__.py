"""How fast the bench is: measurements beside the plain code they are compared with, and the run on a GPU machine."""
