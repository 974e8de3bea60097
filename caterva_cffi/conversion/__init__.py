"""Trees of arrays written anew: other chunks, other codecs, other formats."""
