/**
 * The work that a benchmarked guest does, as a shell script for the image's `gastwirt.run64=` word.
 *
 * The guest prints a marker line before and after each workload and the host takes the time at which each one arrives, so that a
 * guest's idea of time plays no part. The file that the workloads read is 64 MiB in a tmpfs: BusyBox's own program file, again and
 * again. It is the same in every guest, and as a whole it is further apart than gzip looks back, so gzip has real work to do.
 */

/** Name, and the shell text that does it in the folder with the file `f`. */
export const workloads = {
  sha256: 'sha256sum f',
  md5: 'md5sum f',
  gzip: 'gzip -1 -c f >/dev/null',
  shell: 'i=0;while [ $i -lt 200000 ];do i=$((i+1));done',
  fork: 'i=0;while [ $i -lt 300 ];do /bin/true;i=$((i+1));done',
} as const

/** One of {@link workloads}. */
export type Workload = keyof typeof workloads

const makeFile = 'cd /dev/shm;(while cat /bin/busybox;do :;done)2>/dev/null|head -c 67108864 >f'
const readsFile: ReadonlySet<Workload> = new Set(['sha256', 'md5', 'gzip'])

/** The line that is printed before or after a workload. */
export function marker(workload: Workload, moment: 'start' | 'end'): string {
  return `bench: ${workload} ${moment}`
}

/** The kernel command line's word that makes a guest do these and power off. */
export function wordFor(chosen: readonly Workload[]): string {
  const script = [
    'b(){ echo "bench: $*";}',
    ...(chosen.some(name => readsFile.has(name)) ? [makeFile] : []),
    ...chosen.flatMap(name => [`b ${name} start`, workloads[name], `b ${name} end`]),
  ]
  return `gastwirt.run64=${Buffer.from(script.join('\n')).toString('base64')}`
}
