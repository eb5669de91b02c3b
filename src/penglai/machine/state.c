/*
 * The state of a hart as its engine has it: single registers, the view of memory, and whole contexts.
 */
#include "hart.h"

void write_reg(struct hart *h, int id, uint64_t value)
{
    uc_reg_write(h->uc, id, &value);
}

uint64_t read_reg(struct hart *h, int id)
{
    uint64_t value = 0;
    uc_reg_read(h->uc, id, &value);
    return value;
}

struct view look(struct hart *h)
{
    static const int ids[] = {UC_RISCV_REG_SSTATUS, UC_RISCV_REG_SATP};
    uint64_t status = 0, satp = 0;
    if (h->priv == PRIV_U)
        write_reg(h, UC_RISCV_REG_PRIV, PRIV_S);
    uc_reg_read_batch(h->uc, ids, (void *[]){&status, &satp}, 2);
    if (h->priv == PRIV_U)
        write_reg(h, UC_RISCV_REG_PRIV, PRIV_U);
    return (struct view){
        .satp = satp,
        .supervisor = h->priv != PRIV_U,
        .sum = status & MSTATUS_SUM,
        .mxr = status & MSTATUS_MXR,
    };
}

#define REGS 64 /* x1..x31, f0..f31, fcsr */
static int reg_ids[REGS];

__attribute__((constructor)) static void list_registers(void)
{
    for (int i = 1; i < 32; i++)
        reg_ids[i - 1] = UC_RISCV_REG_X0 + i;
    for (int i = 0; i < 32; i++)
        reg_ids[31 + i] = UC_RISCV_REG_F0 + i;
    reg_ids[63] = UC_RISCV_REG_FCSR;
}

static void point_at(struct context *c, void *values[REGS])
{
    for (int i = 1; i < 32; i++)
        values[i - 1] = &c->x[i];
    for (int i = 0; i < 32; i++)
        values[31 + i] = &c->f[i];
    values[63] = &c->fcsr;
}

void set_registers(struct hart *h, const struct context *c)
{
    void *values[REGS];
    point_at((struct context *)c, values); /* to be read */
    uc_reg_write_batch(h->uc, reg_ids, values, REGS);
}

void load_context(struct hart *h, struct context *c)
{
    /* Writing the privilege also drops an LR reservation that another context left. */
    write_reg(h, UC_RISCV_REG_PRIV, PRIV_M);
    if (h->tlb_stale || c->satp != h->satp) {
        h->tlb_stale = false;
        h->satp = c->satp;
        write_reg(h, UC_RISCV_REG_SATP, c->satp);
        uc_ctl_flush_tlb(h->uc);
    }
    write_reg(h, UC_RISCV_REG_PRIV, c->priv);
    set_registers(h, c);
}

void save_context(struct hart *h, struct context *c)
{
    void *values[REGS];
    point_at(c, values);
    uc_reg_read_batch(h->uc, reg_ids, values, REGS);
    c->x[0] = 0;
}
