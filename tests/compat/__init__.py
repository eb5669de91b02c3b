"""What binaries of Penglai-TVM rely on, fact by fact: programs of our own that use it to the byte."""
