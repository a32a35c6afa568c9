"""May this model trade money: trials counted, luck discounted, every gate said aloud."""
