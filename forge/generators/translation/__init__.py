"""Translators: generators whose input is a real face rather than a latent; one file each."""
