"""Files of prompts and sentences -> facts, masked texts, tokens."""
