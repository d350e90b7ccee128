"""Options and arguments of each verb; importing one of these modules imports nothing heavy."""
