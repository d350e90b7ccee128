"""How good the forgeries are, without any download: one metric a file, and `measure` for all of them."""
