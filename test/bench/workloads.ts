/**
 * What is measured inside the guest, as a shell script for BusyBox. The script prints a line before and after each piece of work, and
 * the host's clock is read when such a line arrives: a guest's own clock is not trusted here.
 *
 *   bench: sha256        work begins
 *   bench: .             work ends
 *   sum=<digits>         what the work came to; must be the same on every machine
 *
 * Rule of use: the script travels in the kernel command line in base64, where Xen leaves 1023 bytes for everything; keep it short.
 */

/** A piece of work: its name in tables and what the shell is to run. `$f` is 64 MiB of programs in a tmpfs. */
interface Workload {
  readonly name: string
  readonly shell: string
}

const workloads: readonly Workload[] = [
  {name: 'sha256', shell: 'sha256sum $f'},
  {name: 'md5', shell: 'md5sum $f'},
  {name: 'gzip', shell: 'gzip -1c $f|wc -c'},
  {name: 'shell', shell: 'i=0;while [ $i -lt 200000 ];do i=$((i+1));done;echo $i'},
  {name: 'fork', shell: 'i=0;while [ $i -lt 300 ];do /bin/true;i=$((i+1));done;echo $i'},
]

/** The names of all workloads, in the order they run. */
export const workloadNames: readonly string[] = workloads.map(({name}) => name)

/** What each is, for a reader of the table. */
export const workloadTitles: Readonly<Record<string, string>> = {
  sha256: 'sha256sum of 64 MiB',
  md5: 'md5sum of 64 MiB',
  gzip: 'gzip -1 of 64 MiB',
  shell: '200,000 turns of a shell loop',
  fork: '300 x fork, exec, wait',
}

const prepare = `f=/dev/shm/f;b=/bin/busybox
for i in $(seq $((67108864/$(stat -c%s $b)+1)));do cat $b;done >$f
truncate -s 64M $f
`

/** The script that does the named pieces of work. */
export function guestScript(names: readonly string[]): string {
  const chosen = workloads.filter(({name}) => names.includes(name))
  const needsFile = chosen.some(({shell}) => shell.includes('$f'))
  const lines = chosen.map(({name, shell}) => `echo bench: ${name};s=$(${shell});echo bench: .;echo sum=$s`)
  return `${needsFile ? prepare : ''}${lines.join('\n')}\n`
}

/** One line of the guest's output, as far as it is ours. */
export type Marker = {kind: 'begin'; name: string} | {kind: 'end'} | {kind: 'sum'; text: string}

/** Reads a line of output; undefined when it is no marker. */
export function markerOf(line: string): Marker | undefined {
  const [, name] = /^bench: (\S+)$/.exec(line) ?? []
  if (name !== undefined) return name === '.' ? {kind: 'end'} : {kind: 'begin', name}
  const [, text] = /^sum=(.*)$/.exec(line) ?? []
  return text === undefined ? undefined : {kind: 'sum', text}
}
