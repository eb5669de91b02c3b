// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * A kernel that attacks the monitor: every call with numbers chosen to hurt, structs and page tables full of them, on
 * memory of its own and on the enclave's page that it is told.  It leaves alone what would only hurt itself: its own
 * kernel's pages, the life of the victim, and the driver's events.
 *
 *     insmod hostile.ko secret=0x80600000 victim=1 seed=1 calls=10000; dmesg
 */
#include <linux/gfp.h>
#include <linux/io.h>
#include <linux/module.h>
#include <linux/prandom.h>
#include <linux/sched.h>
#include <linux/uaccess.h>
#include <asm/sbi.h>

#define EXTENSION 0x100100
#define RAM_BASE 0x80000000UL
#define PREY_ORDER 10
#define PREY_BYTES (PAGE_SIZE << PREY_ORDER)
#define FUNCTIONS 104

enum {
	EVENT = 2,
	DESTROY_SHADOW = 79,
	RUN_SHADOW = 87,
	DESTROY_SERVER = 89,
	DESTROY = 94,
	RESUME,
	STOP,
	RUN
};

static ulong secret, victim, seed = 1, calls = 10000;
module_param(secret, ulong, 0);
module_param(victim, ulong, 0);
module_param(seed, ulong, 0);
module_param(calls, ulong, 0);

static struct rnd_state state;
static char *prey;
static ulong accepted;

static ulong below(ulong limit)
{
	return prandom_u32_state(&state) % limit;
}

static ulong pick(void)
{
	ulong start = virt_to_phys(prey);

	switch (below(18)) {
	case 0:
		return 0;
	case 1:
		return -1UL;
	case 2:
		return (ulong)prandom_u32_state(&state) << 32 | prandom_u32_state(&state);
	case 3:
		return 1UL << below(64);
	case 4:
		return start + below(PREY_BYTES);
	case 5:
		return start;
	case 6:
		return start + PREY_BYTES - 8 * below(20);
	case 7:
		return secret;
	case 8:
		return secret + 8 * below(512);
	case 9:
		return secret & ~(PMD_SIZE - 1);
	case 10:
		return RAM_BASE;
	case 11:
		return -PAGE_SIZE;
	case 12:
		return PMD_SIZE;
	case 13:
		return PAGE_SIZE * (1 + below(8));
	case 14:
		return below(40); /* an eid, a size, a reason */
	default:
		return start + PAGE_SIZE * below(PREY_BYTES / PAGE_SIZE);
	}
}

/* Words of the prey, which may have become somebody else's. */
static void scribble(void)
{
	ulong word, place = below(PREY_BYTES / PAGE_SIZE) * PAGE_SIZE;
	int i;

	for (i = 0; i < 18; i++) {
		word = below(3) ? pick() : (pick() >> PAGE_SHIFT << 10) | below(1024);
		__put_kernel_nofault(prey + place + 8 * i, &word, ulong, gone);
	}
gone:
	return;
}

static bool hurts_only_itself(ulong function, ulong eid)
{
	if (function == EVENT)
		return true;
	if ((u32)eid != victim)
		return false;
	return function == DESTROY_SHADOW || function == DESTROY_SERVER ||
	       (function >= DESTROY && function <= RUN);
}

static void attack(void)
{
	ulong function = below(FUNCTIONS), a[5];
	int i;

	for (i = 0; i < ARRAY_SIZE(a); i++)
		a[i] = pick();
	if (below(2))
		a[0] = below(40);
	if (hurts_only_itself(function, a[0]))
		return;
	if (!sbi_ecall(EXTENSION, function, a[0], a[1], a[2], a[3], a[4], 0).error)
		accepted++;
}

static int __init hostile_init(void)
{
	ulong i;

	prandom_seed_state(&state, seed);
	prey = (char *)__get_free_pages(GFP_KERNEL | __GFP_ZERO,
					PREY_ORDER); /* which it never gets back */
	if (!prey)
		return -ENOMEM;
	for (i = 0; i < calls; i++) {
		scribble();
		attack();
		cond_resched();
	}
	pr_info("hostile: %lu calls, %lu accepted\n", calls, accepted);
	return 0;
}

module_init(hostile_init);
MODULE_LICENSE("Dual MIT/GPL");
