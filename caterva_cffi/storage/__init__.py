"""Files and directories, whatever is in them."""
