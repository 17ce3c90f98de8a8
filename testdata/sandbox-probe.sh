#!/bin/sh
# Prints what a container's process is and sees, one fact a line, for scripts/compare-sandbox. It needs only busybox and
# changes nothing that outlives the container.
say() { printf '%s: %s\n' "$1" "$2"; }
each() { name=$1; while read -r line; do say "$name" "$line"; done; }

say user "$(id -u):$(id -g)"
say groups "$(id -G)"
grep -E '^(Cap|NoNewPrivs|Seccomp:|Uid|Gid|Groups|SigBlk|SigIgn|Umask|CoreDumping|THP_enabled)' /proc/self/status | tr '\t' ' ' | each status
say umask "$(umask)"
say hostname "$(hostname)"
each hosts </etc/hosts
each resolv.conf </etc/resolv.conf
say hostname-file "$(cat /etc/hostname 2>/dev/null)"
say pid $$
say session "$(cut -d' ' -f4-8 /proc/self/stat)"
say oom_score_adj "$(cat /proc/self/oom_score_adj)"
say loginuid-set "$(test "$(cat /proc/self/loginuid 2>/dev/null)" = 4294967295 && echo no || echo yes)"
say personality "$(cat /proc/self/personality 2>/dev/null)"
say directory "$(pwd)"
env | sort | each env
for limit in c d e f i l m n p q r s t u v x; do say "limit $limit" "$(ulimit -S -$limit 2>/dev/null) $(ulimit -H -$limit 2>/dev/null)"; done
ls -l /proc/self/fd 2>/dev/null | sed -n 's/.* \([0-9]*\) -> \([a-z/]*\).*/\1 \2/p' | each descriptor
awk '{ split($0, half, " - "); split(half[1], a, " "); split(half[2], b, " "); print a[5], a[6], b[1] }' /proc/self/mountinfo |
    sed 's/,\(relatime\|noatime\)//' | sort | each mount
ls -ln /dev | awk 'NR > 1 { print $1, $3, $4, $NF, ($1 ~ /^[cb]/ ? $5 $6 : "") }' | sed 's/ *$//' | each dev
for namespace in mnt pid net ipc uts user cgroup time; do say namespace "$namespace $(readlink /proc/self/ns/$namespace | cut -d: -f1)"; done
say cgroup-root "$(grep -c ':/$' /proc/self/cgroup) of $(wc -l </proc/self/cgroup)"
for file in /proc/kcore /proc/keys /proc/latency_stats /proc/timer_list /proc/timer_stats /proc/sched_debug /proc/interrupts; do
    if ! test -e $file; then say masked "$file missing"
    elif test "$(head -c 1 $file 2>/dev/null | wc -c)" = 0; then say masked "$file yes"
    else say masked "$file no"; fi
done
for directory in /proc/acpi /proc/asound /proc/scsi /sys/firmware /sys/devices/virtual/powercap; do
    if ! test -d $directory; then say masked "$directory missing"
    elif test -z "$(ls -A $directory)"; then say masked "$directory yes"
    else say masked "$directory no"; fi
done
for path in / /dev /dev/shm /tmp /etc/hosts /etc/resolv.conf /etc/hostname /proc/sys/kernel/hostname /proc/sysrq-trigger /proc/irq/default_smp_affinity \
    /proc/self/oom_score_adj /proc/sys/net/ipv4/ip_forward /sys/kernel/mm/ksm/run /sys/fs/cgroup; do
    if ! test -e $path; then say writable "$path missing"
    elif test -d $path; then if mkdir $path/.probe 2>/dev/null; then rmdir $path/.probe; say writable "$path yes"; else say writable "$path no"; fi
    elif (true >>$path) 2>/dev/null; then say writable "$path yes"
    else say writable "$path no"; fi
done
(mknod /.probe c 1 5 && { say device made; head -c 1 /.probe >/dev/null 2>&1 && say device opens || say device "does not open"; rm /.probe; }) 2>/dev/null ||
    say device "cannot be made"
unshare -U true 2>/dev/null && say may "user namespace" || say "may not" "user namespace"
mount -t tmpfs none /tmp 2>/dev/null && say may mount || say "may not" mount
chroot / true 2>/dev/null && say may chroot || say "may not" chroot
ping -c 1 -w 1 127.0.0.1 >/dev/null 2>&1 && say may ping || say "may not" ping
hostname probe 2>/dev/null && say may hostname || say "may not" hostname
date -s 2000-01-01 >/dev/null 2>&1 && say may "set the clock" || say "may not" "set the clock"
dmesg >/dev/null 2>&1 && say may dmesg || say "may not" dmesg
nice -n -5 true 2>/dev/null && say may "raise priority" || say "may not" "raise priority"
