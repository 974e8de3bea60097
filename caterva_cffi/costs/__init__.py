"""What a read costs: counted without reading more than heads, and told to people."""
