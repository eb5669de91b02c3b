"""Promises of the native engine: what it emits, and what it maps."""

from tests.mutation.promise import Mutation

WHERE = "src/penglai/machine/native"
ONE = "tests/machine/test_native.py::test_{}"
RANDOM = ONE.format("random_programs_end_on_both_engines_alike[0]")

NATIVE = [
    Mutation(
        "an access of a native program is within its window",
        f"{WHERE}/memory.c",
        "        leave_if(t, CC_A, LEFT_ELSEWHERE);\n        t->checked |= 1u << base;\n",
        "        t->checked |= 1u << base;\n",
        (RANDOM,),
    ),
    Mutation(
        "what a block knows of a register holds in that block only",
        f"{WHERE}/translate.c",
        "    t->checked = t->known = t->boxed = t->truth = 0;\n",
        "    t->known = t->boxed = t->truth = 0;\n",
        (ONE.format("a_jump_into_the_middle_of_a_block_finds_nothing_checked"), RANDOM),
    ),
    Mutation(
        "a register that is written to is not checked any more",
        f"{WHERE}/registers.c",
        "    t->checked &= ~(1u << x);\n",
        "",
        (RANDOM,),
    ),
    Mutation(
        "a jump's lowest bit is cleared",
        f"{WHERE}/translate.c",
        "    emit_imm(b, REX_W, G_AND, in_reg(RAX), -2);\n    if (t->code->cache->counts)",
        "    if (t->code->cache->counts)",
        (ONE.format("returns_to_where_no_call_came_from"), RANDOM),
    ),
    Mutation(
        "sc says whether it has stored",
        f"{WHERE}/memory.c",
        "    emit_setcc(b, CC_NE, RCX);\n",
        "    emit_setcc(b, CC_E, RCX);\n",
        (RANDOM,),
    ),
    Mutation(
        "an atomic is atomic beside those of other harts",
        f"{WHERE}/memory.c",
        "I_XADD | LOCK",
        "I_XADD",
        (RANDOM,),
    ),
    Mutation(
        "a quotient by zero is all ones",
        f"{WHERE}/integer.c",
        "        emit_constant(b, RAX, UINT64_MAX);\n",
        "        emit_constant(b, RAX, 0);\n",
        (RANDOM,),
    ),
    Mutation(
        "a NaN is the one that RISC-V has",
        f"{WHERE}/floating.c",
        "        emit(b, I_MOVQ_LOAD, nan->xmm, constant(C_NAN + (nan->insn.wide ? 0 : 2)));\n",
        "",
        (RANDOM,),
    ),
    Mutation(
        "a branch behind a comparison goes where the comparison says",
        f"{WHERE}/translate.c",
        "INVERSE(t->truth_condition)",
        "t->truth_condition",
        (ONE.format("a_branch_behind_a_comparison_of_numbers"),),
    ),
    Mutation(
        "a branch that begins a block looks at its register",
        f"{WHERE}/translate.c",
        "t->boxed = t->truth = 0;\n",
        "t->boxed = 0;\n",
        (ONE.format("a_branch_that_others_jump_to_looks_at_its_register"),),
    ),
    Mutation(
        "a program rounds as it says",
        f"{WHERE}/dispatch.c",
        "modes[4] = {0, 3, 1, 2}",
        "modes[4] = {0, 3, 2, 1}",
        (RANDOM,),
    ),
    Mutation(
        "a window has the rights of its page table",
        f"{WHERE}/runs.c",
        "return entry & PTE_W && entry & PTE_D ? PROT_READ | PROT_WRITE : PROT_READ;",
        "return PROT_READ | PROT_WRITE;",
        (RANDOM,),
    ),
    Mutation(
        "a fault is at its instruction",
        f"{WHERE}/fault.c",
        "    n->frame.c.pc = pc;\n",
        "",
        (RANDOM,),
    ),
    Mutation(
        "what went away leaves the windows of all harts",
        f"{WHERE}/window.c",
        "    } else {\n        drop_changed_runs(n, w);\n",
        "    } else {\n",
        ("tests/machine/test_revocation.py",),
    ),
    Mutation(
        "an enclave that has ended is in no window",
        f"{WHERE}/window.c",
        "        drop_all_runs(w);\n        w->satp = 0;\n        atomic_store",
        "        w->satp = 0;\n        atomic_store",
        ("tests/machine/test_revocation.py",),
    ),
    Mutation(
        "a window that is used again shows nothing of who had it",
        f"{WHERE}/range.c",
        "    if (mprotect(base, WINDOW_BYTES, PROT_NONE))\n        range_clear(base, 0, WINDOW_BYTES);\n",
        "    (void)base;\n",
        ("tests/machine/test_revocation.py",),
    ),
    Mutation(
        "a mapping that goes leaves its addresses reserved",
        f"{WHERE}/range.c",
        "    if (mmap(base + address, bytes, PROT_NONE, RESERVED | MAP_FIXED, -1, 0) == MAP_FAILED)\n",
        "    if (munmap(base + address, bytes))\n",
        ("tests/machine/test_revocation.py",),
    ),
    Mutation(
        "code that rests goes with its text",
        "src/penglai/machine/hart.py",
        "        self._core.forget(start, end)\n",
        "",
        ("tests/machine/test_revocation.py",),
    ),
    Mutation(
        "code that may be written at another address is not translated",
        f"{WHERE}/binding.c",
        "    if (is_written_elsewhere(n, w->satp, entries, pages))\n        return NULL;\n",
        "",
        (ONE.format("code_that_may_be_written_is_not_translated"),),
    ),
    Mutation(
        "translated code has a limit",
        f"{WHERE}/cache.c",
        "bool room = bytes <= cache->limit - cache->used;",
        "bool room = true;",
        ("tests/machine/test_code_cache.py",),
    ),
    Mutation(
        "a compressed shift is as long as it says",
        f"{WHERE}/decode.c",
        "compressed(OP_SRLI, rd, rd, 0, imm & 63)",
        "compressed(OP_SRLI, rd, rd, 0, imm & 31)",
        (ONE.format("codes_of_16_bits_mean_on_both_engines_the_same"), RANDOM),
    ),
]
