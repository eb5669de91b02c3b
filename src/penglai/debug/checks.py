"""What it means that a program which was compiled to check itself ends in a certain function."""

FUNCTIONS = {
    "__stack_chk_fail": "the stack protector: its caller has written beyond its local variables",
    "eapp_undefined": "undefined behaviour, which -fsanitize has found: the console says what and where",
    "heapcheck_failed": "the heap checker: the console says what is wrong with which block",
}
"""Of the SDK's library."""

CLANG_TRAP = "__clang_trap_msg$"
"""What clang calls the function of a check that is a trap; behind it stand who checks, and what is wrong."""


def meaning(function: str) -> str:
    """What it means that a program has ended in this function, in words; empty if nothing."""
    if function.startswith(CLANG_TRAP):
        return function.removeprefix(CLANG_TRAP).replace("$", ": ")
    return FUNCTIONS.get(function, "")
