"""Files and directories, without a format."""
