"""What crosses a boundary: call numbers, structs, the address-space layout, error codes.  No behaviour."""
