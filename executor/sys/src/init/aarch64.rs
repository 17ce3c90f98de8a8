//! The program for aarch64. What it does is said where it is made a file.

core::arch::global_asm!(
    ".pushsection .rodata.rbuild_init,\"a\",@progbits",
    ".balign 8",
    ".globl rbuild_init_start",
    "rbuild_init_start:",
    "ldr x19, [sp]",   // argc
    "add x20, sp, #8", // argv
    "ldr x0, [x20]",
    "cbz x0, 9f",
    "ldrb w0, [x0]",
    "cmp w0, #103", // g
    "b.eq 8f",
    "cmp w0, #105", // i
    "b.eq 20f",
    "cmp w0, #120", // x
    "b.ne 9f",
    "19:",
    "add x21, x20, x19, lsl #3", // the environment follows the arguments
    "add x21, x21, #8",
    "mov x0, #3", // fcntl(CHANNEL, F_SETFD, FD_CLOEXEC)
    "mov x1, #2",
    "mov x2, #1",
    "mov x8, #25",
    "svc #0",
    "add x22, x20, #8", // candidates
    "mov x23, x22",
    "2:", // the command's arguments begin behind the empty string
    "ldr x0, [x23]",
    "cbz x0, 9f",
    "add x23, x23, #8",
    "ldrb w0, [x0]",
    "cbnz w0, 2b",
    "mov w24, #2", // the answer: ENOENT unless something better comes
    "3:",
    "ldr x0, [x22]",
    "ldrb w1, [x0]",
    "cbz w1, 6f",
    "mov w25, #500", // tries
    "4:",
    "ldr x0, [x22]",
    "mov x1, x23",
    "mov x2, x21",
    "mov x8, #221", // execve
    "svc #0",
    "neg w26, w0",
    "cmp w26, #26", // ETXTBSY
    "b.ne 5f",
    "subs w25, w25, #1",
    "b.eq 5f",
    "adr x0, 7f",
    "mov x1, xzr",
    "mov x8, #101", // nanosleep
    "svc #0",
    "b 4b",
    "5:",
    "add x22, x22, #8",
    "cmp w26, #2", // ENOENT
    "b.eq 3b",
    "cmp w26, #20", // ENOTDIR
    "b.eq 3b",
    "cmp w26, #116", // ESTALE
    "b.eq 3b",
    "cmp w26, #19", // ENODEV
    "b.eq 3b",
    "cmp w26, #110", // ETIMEDOUT
    "b.eq 3b",
    "mov w24, w26",
    "cmp w26, #13", // EACCES
    "b.eq 3b",
    "6:", // write(CHANNEL, &answer, 4)
    "str w24, [sp, #-16]!",
    "mov x0, #3",
    "mov x1, sp",
    "mov x2, #4",
    "mov x8, #64",
    "svc #0",
    "b 9f",
    "8:", // read(CHANNEL, ., 1)
    "sub sp, sp, #16",
    "mov x0, #3",
    "mov x1, sp",
    "mov x2, #1",
    "mov x8, #63",
    "svc #0",
    "mov w0, #48", // write(1, "0", 1)
    "strb w0, [sp]",
    "mov x0, #1",
    "mov x1, sp",
    "mov x2, #1",
    "mov x8, #64",
    "svc #0",
    "9:",
    "mov x0, #127",
    "18:",
    "mov x8, #94", // exit_group
    "svc #0",
    "brk #1",
    "20:",
    "sub sp, sp, #16",
    "mov x9, #-1", // all signals
    "str x9, [sp]",
    "str xzr, [sp, #8]", // a status, later a process id
    "mov x0, #2",        // rt_sigprocmask(SIG_SETMASK, all)
    "mov x1, sp",
    "mov x2, xzr",
    "mov x3, #8",
    "mov x8, #135",
    "svc #0",
    "mov x0, #17", // clone(SIGCHLD)
    "mov x1, xzr",
    "mov x2, xzr",
    "mov x3, xzr",
    "mov x4, xzr",
    "mov x8, #220",
    "svc #0",
    "cbz x0, 25f",
    "tbnz x0, #63, 9b",
    "mov w27, w0",
    "mov x0, #3", // close(CHANNEL)
    "mov x8, #57",
    "svc #0",
    "mov x0, #15", // prctl(PR_SET_NAME, .)
    "adr x1, 12f",
    "mov x8, #167",
    "svc #0",
    // what ps shows: the command's words are moved behind the name, over the candidates, and what is left is emptied
    "ldr x0, [x20]",
    "13:",
    "ldrb w1, [x0], #1",
    "cbnz w1, 13b",
    "add x1, x20, #8",
    "14:",
    "ldr x2, [x1], #8",
    "cbz x2, 21f",
    "ldrb w3, [x2]",
    "cbnz w3, 14b",
    "add x2, x2, #1",
    "add x3, x20, x19, lsl #3",
    "ldur x3, [x3, #-8]", // the last word
    "15:",
    "ldrb w4, [x3], #1",
    "cbnz w4, 15b",
    "16:",
    "cmp x2, x3",
    "b.hs 17f",
    "ldrb w4, [x2], #1",
    "strb w4, [x0], #1",
    "b 16b",
    "17:",
    "cmp x0, x3",
    "b.hs 21f",
    "strb wzr, [x0], #1",
    "b 17b",
    "21:",
    "mov x0, sp", // rt_sigtimedwait(all, -, -)
    "mov x1, xzr",
    "mov x2, xzr",
    "mov x3, #8",
    "mov x8, #137",
    "svc #0",
    "cmp w0, #0",
    "b.le 21b",
    "cmp w0, #17", // SIGCHLD
    "b.eq 22f",
    "mov w1, w0", // kill(process, signal)
    "mov w0, w27",
    "mov x8, #129",
    "svc #0",
    "b 21b",
    "22:",
    "mov x0, #-1", // wait4(-1, &status, WNOHANG, -)
    "add x1, sp, #8",
    "mov x2, #1",
    "mov x3, xzr",
    "mov x8, #260",
    "svc #0",
    "cmp w0, #0",
    "b.le 21b",
    "cmp w0, w27",
    "b.ne 22b",
    "ldr w1, [sp, #8]",
    "and w0, w1, #127",
    "cbz w0, 23f",
    "add w0, w0, #128",
    "b 18b",
    "23:",
    "ubfx w0, w1, #8, #8",
    "b 18b",
    "25:",
    "mov x0, xzr", // setpgid(0, 0)
    "mov x1, xzr",
    "mov x8, #154",
    "svc #0",
    "mov x8, #172", // getpid()
    "svc #0",
    "str w0, [sp, #8]",
    "mov x0, xzr", // ioctl(0, TIOCSPGRP, &process)
    "mov x1, #0x5410",
    "add x2, sp, #8",
    "mov x8, #29",
    "svc #0",
    "str xzr, [sp]",
    "mov x0, #2", // rt_sigprocmask(SIG_SETMASK, none)
    "mov x1, sp",
    "mov x2, xzr",
    "mov x3, #8",
    "mov x8, #135",
    "svc #0",
    "add sp, sp, #16",
    "b 19b",
    ".balign 8",
    "7:", // struct timespec of 2 ms
    ".quad 0, 2000000",
    "12:",
    ".asciz \"init of rbuild\"",
    ".globl rbuild_init_end",
    "rbuild_init_end:",
    ".popsection",
);
