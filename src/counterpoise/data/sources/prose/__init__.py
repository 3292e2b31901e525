"""What generated texts are made of: a grammar of templates, words, neutral sentences, and a layout with spans."""
