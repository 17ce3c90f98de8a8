//! The program for x86_64. What it does is said where it is made a file.

core::arch::global_asm!(
    ".pushsection .rodata.rbuild_init,\"a\",@progbits",
    ".balign 8",
    ".globl rbuild_init_start",
    "rbuild_init_start:",
    "mov rbx, [rsp]",     // argc
    "lea r12, [rsp + 8]", // argv
    "mov rax, [r12]",
    "test rax, rax",
    "jz 9f",
    "movzx eax, byte ptr [rax]",
    "cmp al, 103", // g
    "je 8f",
    "cmp al, 105", // i
    "je 20f",
    "cmp al, 120", // x
    "jne 9f",
    "19:",
    "lea r15, [r12 + rbx * 8 + 8]", // the environment follows the arguments
    "mov eax, 72",                  // fcntl(CHANNEL, F_SETFD, FD_CLOEXEC)
    "mov edi, 3",
    "mov esi, 2",
    "mov edx, 1",
    "syscall",
    "lea r13, [r12 + 8]", // candidates
    "mov r14, r13",
    "2:", // the command's arguments begin behind the empty string
    "mov rax, [r14]",
    "test rax, rax",
    "jz 9f",
    "add r14, 8",
    "cmp byte ptr [rax], 0",
    "jne 2b",
    "mov ebp, 2", // the answer: ENOENT unless something better comes
    "3:",
    "mov rax, [r13]",
    "cmp byte ptr [rax], 0",
    "je 6f",
    "mov r12d, 500", // tries
    "4:",
    "mov rdi, [r13]",
    "mov rsi, r14",
    "mov rdx, r15",
    "mov eax, 59", // execve
    "syscall",
    "neg eax",
    "cmp eax, 26", // ETXTBSY
    "jne 5f",
    "dec r12d",
    "jz 5f",
    "lea rdi, [rip + 7f]",
    "xor esi, esi",
    "mov eax, 35", // nanosleep
    "syscall",
    "jmp 4b",
    "5:",
    "add r13, 8",
    "cmp eax, 2", // ENOENT
    "je 3b",
    "cmp eax, 20", // ENOTDIR
    "je 3b",
    "cmp eax, 116", // ESTALE
    "je 3b",
    "cmp eax, 19", // ENODEV
    "je 3b",
    "cmp eax, 110", // ETIMEDOUT
    "je 3b",
    "mov ebp, eax",
    "cmp eax, 13", // EACCES
    "je 3b",
    "6:", // write(CHANNEL, &answer, 4)
    "push rbp",
    "mov eax, 1",
    "mov edi, 3",
    "mov rsi, rsp",
    "mov edx, 4",
    "syscall",
    "jmp 9f",
    "8:", // read(CHANNEL, ., 1)
    "push rbp",
    "xor eax, eax",
    "mov edi, 3",
    "mov rsi, rsp",
    "mov edx, 1",
    "syscall",
    "mov byte ptr [rsp], 48", // write(1, "0", 1)
    "mov eax, 1",
    "mov edi, 1",
    "mov rsi, rsp",
    "mov edx, 1",
    "syscall",
    "9:",
    "mov edi, 127",
    "18:",
    "mov eax, 231", // exit_group
    "syscall",
    "hlt",
    "20:",
    "push 0",      // a status, later a process id
    "push -1",     // all signals
    "mov eax, 14", // rt_sigprocmask(SIG_SETMASK, all)
    "mov edi, 2",
    "mov rsi, rsp",
    "xor edx, edx",
    "mov r10d, 8",
    "syscall",
    "mov eax, 56", // clone(SIGCHLD)
    "mov edi, 17",
    "xor esi, esi",
    "xor edx, edx",
    "xor r10d, r10d",
    "xor r8d, r8d",
    "syscall",
    "test rax, rax",
    "jz 25f",
    "js 9b",
    "mov r13d, eax",
    "mov eax, 3", // close(CHANNEL)
    "mov edi, 3",
    "syscall",
    "mov eax, 157", // prctl(PR_SET_NAME, .)
    "mov edi, 15",
    "lea rsi, [rip + 12f]",
    "syscall",
    // what ps shows: the command's words are moved behind the name, over the candidates, and what is left is emptied
    "mov rdi, [r12]",
    "13:",
    "cmp byte ptr [rdi], 0",
    "lea rdi, [rdi + 1]",
    "jne 13b",
    "lea rax, [r12 + 8]",
    "14:",
    "mov rsi, [rax]",
    "test rsi, rsi",
    "jz 21f",
    "add rax, 8",
    "cmp byte ptr [rsi], 0",
    "jne 14b",
    "inc rsi",
    "mov r14, [r12 + rbx * 8 - 8]", // the last word
    "15:",
    "cmp byte ptr [r14], 0",
    "lea r14, [r14 + 1]",
    "jne 15b",
    "mov rcx, r14",
    "sub rcx, rsi",
    "rep movsb",
    "mov rcx, r14",
    "sub rcx, rdi",
    "xor eax, eax",
    "rep stosb",
    "21:",
    "mov eax, 128", // rt_sigtimedwait(all, -, -)
    "mov rdi, rsp",
    "xor esi, esi",
    "xor edx, edx",
    "mov r10d, 8",
    "syscall",
    "test eax, eax",
    "jle 21b",
    "cmp eax, 17", // SIGCHLD
    "je 22f",
    "mov esi, eax", // kill(process, signal)
    "mov edi, r13d",
    "mov eax, 62",
    "syscall",
    "jmp 21b",
    "22:",
    "mov eax, 61", // wait4(-1, &status, WNOHANG, -)
    "mov rdi, -1",
    "lea rsi, [rsp + 8]",
    "mov edx, 1",
    "xor r10d, r10d",
    "syscall",
    "test eax, eax",
    "jle 21b",
    "cmp eax, r13d",
    "jne 22b",
    "mov edi, [rsp + 8]",
    "and edi, 127",
    "jz 23f",
    "add edi, 128",
    "jmp 18b",
    "23:",
    "movzx edi, byte ptr [rsp + 9]",
    "jmp 18b",
    "25:",
    "mov eax, 109", // setpgid(0, 0)
    "xor edi, edi",
    "xor esi, esi",
    "syscall",
    "mov eax, 39", // getpid()
    "syscall",
    "mov [rsp + 8], eax",
    "mov eax, 16", // ioctl(0, TIOCSPGRP, &process)
    "xor edi, edi",
    "mov esi, 0x5410",
    "lea rdx, [rsp + 8]",
    "syscall",
    "mov qword ptr [rsp], 0",
    "mov eax, 14", // rt_sigprocmask(SIG_SETMASK, none)
    "mov edi, 2",
    "mov rsi, rsp",
    "xor edx, edx",
    "mov r10d, 8",
    "syscall",
    "add rsp, 16",
    "jmp 19b",
    ".balign 8",
    "7:", // struct timespec of 2 ms
    ".quad 0, 2000000",
    "12:",
    ".asciz \"init of rbuild\"",
    ".globl rbuild_init_end",
    "rbuild_init_end:",
    ".popsection",
);
