"""How it is computed: stages, their order, the store of their results, engines."""
