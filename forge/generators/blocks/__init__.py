"""Building blocks of generators: layers, networks and priors that several architectures are made of."""
