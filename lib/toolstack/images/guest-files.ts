/**
 * Our own files in the ramdisk we build: what runs inside a guest of the image "debian" from the kernel's first program on.
 *
 *   /init               mounts what everything needs, becomes BusyBox init
 *   /etc/inittab        tells BusyBox init: start once, then a shell for ever, and what to do when asked to stop
 *   /etc/init.d/start   Xen's frontend drivers, the banner, then the words of the kernel command line below
 *   /etc/init.d/shell   a shell with job control on the console
 *   /etc/init.d/reseed  lets the kernel seed its random numbers anew whenever the domain has another generation id; /run/generation-id is then that id
 *   /sbin/reseed        what that takes beyond BusyBox (reseed-program.ts)
 *   /sbin/poweroff, reboot, halt   one script; Linux's Xen shutdown handler runs the first two
 *
 * Words on the kernel command line:
 *   gastwirt.once         power off after the banner
 *   gastwirt.run64=WORD   run the shell script that WORD holds in base64, print `gastwirt: exit STATUS`, power off
 *
 * Rule of use: the line `gastwirt: init` is the first thing the guest's own programs print; benchmarks wait for it.
 */
import {reseedProgram} from './reseed-program.js'

/** The first line that the guest's first program prints. */
export const firstLine = 'gastwirt: init'

const init = `#!/bin/sh
echo '${firstLine}'
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
exec /sbin/init
`

const inittab = `::sysinit:/etc/init.d/start
::once:/etc/init.d/reseed
::respawn:/etc/init.d/shell
::ctrlaltdel:/sbin/reboot
::restart:/sbin/init
`

const start = `#!/bin/sh
mkdir -p /dev/pts /dev/shm
mount -t devpts devpts /dev/pts
mount -t tmpfs tmpfs /dev/shm
mount -t tmpfs tmpfs /run
echo 1 >/proc/sys/kernel/sysrq
hostname debian
ifconfig lo 127.0.0.1 up
platform='an emulated PC'
if [ -r /sys/hypervisor/type ]; then
  platform="a $(cat /sys/hypervisor/guest_type 2>/dev/null) guest of $(cat /sys/hypervisor/type)"
  modprobe -a -q xen-blkfront xen-netfront
fi
while read -r name value unit; do
  [ "$name" = MemTotal: ] && memory=$((value / 1024))
done </proc/meminfo
echo
echo "Debian's Linux $(uname -r) on $(uname -m), $platform: $memory MiB of memory, $(nproc) CPU"
echo "To end this guest type poweroff; to leave its console press Ctrl-] (the guest goes on)."
echo
for word in $(cat /proc/cmdline); do
  case $word in
    gastwirt.once)
      exec /bin/busybox poweroff -f
      ;;
    gastwirt.run64=*)
      echo "\${word#*=}" | base64 -d >/tmp/run
      sh /tmp/run
      echo "gastwirt: exit $?"
      # A driver may still hold the last bytes for the console.
      usleep 20000
      exec /bin/busybox poweroff -f
      ;;
  esac
done
`

const shell = `#!/bin/sh
# Once the guest is stopping, init must not start another shell.
[ -e /run/stopping ] && exec sleep 3600
cd /root
# init has made this a session of its own already; setsid would leave a child behind and end.
exec cttyhack sh -l
`

// Messages to xenstore are type, request, transaction and length, 4 bytes each, then what they say. Source: public/io/xs_wire.h.
const reseed = String.raw`#!/bin/sh
# A copy of this domain would draw the same random numbers. A PV guest hears of it from xenstore.
[ -c /dev/xen/xenbus ] || exit 0
watch='\4\0\0\0\0\0\0\0\0\0\0\0\32\0\0\0platform/generation-id\0id\0'
read='\2\0\0\0\0\0\0\0\0\0\0\0\27\0\0\0platform/generation-id\0'
exec 3<>/dev/xen/xenbus
printf "$watch" >&3
# At once with what the processor gives, then with the id too.
while reseed <&3 >/dev/urandom; do
  exec 4<>/dev/xen/xenbus
  printf "$read" >&4
  id=$(dd bs=4096 count=1 <&4 2>/dev/null | tail -c +17)
  echo "$id" | reseed >/dev/urandom
  echo "$id" >/run/generation-id
done
`

const stop = `#!/bin/sh
how=\${0##*/}
: >/run/stopping
# Started by the kernel it has no output of its own.
echo "gastwirt: $how" >/dev/console
trap '' HUP TERM
kill -TERM -1
usleep 200000
kill -KILL -1
sync
umount -a -r 2>/dev/null
exec /bin/busybox "$how" -f
`

const profile = `export PATH=/sbin:/bin HOME=/root
PS1='\\h:\\w\\$ '
# The shell would prefer BusyBox's own, which take seconds.
alias poweroff=/sbin/poweroff reboot=/sbin/reboot halt=/sbin/halt
`

/** Path, contents and mode of each file, without the leading slash. */
export const guestFiles: ReadonlyArray<{path: string; data: string | Uint8Array; mode: number}> = [
  {path: 'init', data: init, mode: 0o755},
  {path: 'etc/inittab', data: inittab, mode: 0o644},
  {path: 'etc/init.d/start', data: start, mode: 0o755},
  {path: 'etc/init.d/shell', data: shell, mode: 0o755},
  {path: 'etc/init.d/reseed', data: reseed, mode: 0o755},
  {path: 'etc/profile', data: profile, mode: 0o644},
  {path: 'etc/passwd', data: 'root::0:0:root:/root:/bin/sh\n', mode: 0o644},
  {path: 'etc/group', data: 'root:x:0:\n', mode: 0o644},
  {path: 'etc/hosts', data: '127.0.0.1 localhost debian\n', mode: 0o644},
  {path: 'sbin/reseed', data: reseedProgram, mode: 0o755},
  {path: 'sbin/poweroff', data: stop, mode: 0o755},
  {path: 'sbin/reboot', data: stop, mode: 0o755},
  {path: 'sbin/halt', data: stop, mode: 0o755},
]
