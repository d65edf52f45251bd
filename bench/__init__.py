"""How fast fastbatch is, beside the machine's limit and beside its peers."""
