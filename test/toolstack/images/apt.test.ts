/**
 * Fetching packages, with programs of our own in place of apt-get, apt-cache, apt-config and dpkg-deb: the image that comes out, what
 * apt is told, and what a person is told when something is missing or fails.
 */
import {chmodSync, mkdirSync, readFileSync, writeFileSync} from 'node:fs'
import {join} from 'node:path'
import t from 'tap'
import {buildDebianImage} from '../../../lib/toolstack/images/debian.js'

const busyboxText = 'BusyBox [\\0[[\\0cttyhack\\0init\\0modprobe\\0mount\\0sh\\0\\0'

/** What each program does when nothing else is said. */
const working: Record<string, string> = {
  'apt-config': `echo 'Acquire::http::Proxy "http://proxy:3128";'
echo 'Acquire::AllowInsecureRepositories "1";'
echo 'Acquire::IndexTargets::deb::Packages::MetaKey "x";'
echo 'Acquire::IndexTargets::deb::Icons::MetaKey "y";'
echo 'APT::Update::Post-Invoke:: "rm -rf /";'`,
  'apt-get': `cp "$APT_CONFIG" "$TOLD/apt.conf"
echo "$*" >>"$TOLD/apt-get"
case "$*" in
*download*) for word in "$@"; do case $word in linux-*|busybox-*) : >"$word.deb";; esac; done
  echo 'dlstatus:1:42.4:Retrieving' >&3;;
esac`,
  'apt-cache': `case "$*" in
*linux-image-cloud-amd64) echo 'Package: linux-image-cloud-amd64'; echo 'Depends: linux-image-6.1.0-9-cloud-amd64 (= 6.1.1-1)';;
*) echo 'Version: 1:2-3';;
esac`,
  'dpkg-deb': `case "$2" in
*linux*) mkdir -p "$3/boot" "$3/lib/modules/6.1.0-9-cloud-amd64/kernel/drivers"
  echo kernel >"$3/boot/vmlinuz-6.1.0-9-cloud-amd64"
  printf 'module\\0depends=\\0' >"$3/lib/modules/6.1.0-9-cloud-amd64/kernel/drivers/xen-blkfront.ko";;
*) mkdir -p "$3/bin"; printf '${busyboxText}' >"$3/bin/busybox";;
esac`,
}

/** Runs `action` with only these programs in the path, besides a few that scripts need. */
async function withPrograms<Result>(
  folder: string,
  changes: Record<string, string | undefined>,
  action: () => Promise<Result>,
): Promise<Result> {
  const bin = join(folder, 'bin')
  mkdirSync(bin)
  for (const [name, text] of Object.entries({...working, ...changes})) {
    if (text === undefined) continue
    writeFileSync(join(bin, name), `#!/bin/sh\nPATH=/usr/bin:/bin\n${text}\n`)
    chmodSync(join(bin, name), 0o755)
  }
  const {PATH, TOLD} = process.env
  Object.assign(process.env, {PATH: bin, TOLD: folder})
  try {
    return await action()
  } finally {
    Object.assign(process.env, {PATH, TOLD: TOLD ?? ''})
  }
}

async function attempt(t: Tap, changes: Record<string, string | undefined> = {}, osId = 'debian', keys = true) {
  const folder = t.testdir({target: {}, scratch: {}, 'os-release': `NAME=x\nID=${osId}\n`, ...(keys ? {keys: ''} : {})})
  const machine = {osRelease: join(folder, 'os-release'), keyrings: [join(folder, 'keys')]}
  const reports: string[] = []
  const result = await withPrograms(folder, changes, () =>
    buildDebianImage(join(folder, 'target'), join(folder, 'scratch'), text => reports.push(text), machine).catch(
      error => error,
    ),
  )
  return {folder, reports, result}
}
type Tap = Pick<typeof t, 'testdir'>

t.test('an image is made', async t => {
  const {folder, reports, result} = await attempt(t)
  t.same(result, {
    packages: {'linux-image-6.1.0-9-cloud-amd64': '1:2-3', 'busybox-static': '1:2-3'},
    release: '6.1.0-9-cloud-amd64',
    cmdline: 'console=hvc0',
  })
  t.equal(readFileSync(join(folder, 'target', 'vmlinuz'), 'utf8'), 'kernel\n')
  t.same([...readFileSync(join(folder, 'target', 'initrd.gz')).subarray(0, 2)], [0x1f, 0x8b])
  t.ok(reports.some(text => /^downloading .*: 42 %$/.test(text)))
  t.equal(reports.at(-1), 'building the ramdisk')
})

t.test('what apt is told', async t => {
  const {folder} = await attempt(t)
  const config = readFileSync(join(folder, 'apt.conf'), 'utf8')
  const last = (name: string) => [...config.matchAll(new RegExp(`^${name} "(.*)";$`, 'gm'))].at(-1)?.[1]
  t.equal(last('Acquire::http::Proxy'), 'http://proxy:3128', "the machine's way to the network")
  t.equal(last('Acquire::AllowInsecureRepositories'), 'false', 'never without signatures, whatever the machine says')
  t.equal(last('APT::Get::AllowUnauthenticated'), 'false')
  t.equal(last('Acquire::IndexTargets::deb::Icons::DefaultEnabled'), 'false')
  t.equal(last('Acquire::IndexTargets::deb::Packages::DefaultEnabled'), undefined)
  t.notMatch(config, 'Post-Invoke', "nothing of the machine's hooks")
  for (const name of ['Dir::State', 'Dir::State::status', 'Dir::Cache', 'Dir::Log']) {
    t.ok(last(name)?.startsWith(join(folder, 'scratch')), `${name} is ours`)
  }
  t.match(
    readFileSync(join(folder, 'apt-get'), 'utf8'),
    /update\n.*download linux-image-6\.1\.0-9-cloud-amd64 busybox-static\n/,
  )
})

t.test('another distribution uses the servers of Debian, if it has the keys', async t => {
  const {folder, result} = await attempt(t, {}, 'ubuntu')
  t.equal(result.release, '6.1.0-9-cloud-amd64')
  const config = readFileSync(join(folder, 'apt.conf'), 'utf8')
  t.match(config, `Dir::Etc::sourcelist "${join(folder, 'scratch', 'debian.list')}"`)
  t.match(
    readFileSync(join(folder, 'scratch', 'debian.list'), 'utf8'),
    `deb [arch=amd64 signed-by=${join(folder, 'keys')}] http://deb.debian.org/debian stable main`,
  )
})

t.test('another distribution without the keys', async t => {
  const {result} = await attempt(t, {}, 'ubuntu', false)
  t.equal(result.message, 'the keys that Debian signs its packages with are not on this machine')
  t.match(result.hint, /install the package debian-archive-keyring; or give a kernel/)
})

const failures: ReadonlyArray<
  [name: string, changes: Record<string, string | undefined>, message: RegExp, hint: RegExp]
> = [
  [
    'no apt',
    {'apt-config': undefined},
    /^this machine has no apt to fetch Debian packages with$/,
    /kernel = "\/path\/vmlinuz", ramdisk/,
  ],
  [
    'no dpkg-deb',
    {'dpkg-deb': undefined},
    /^dpkg-deb cannot unpack .*: this machine has no such program$/,
    /kernel = /,
  ],
  [
    'no network',
    {'apt-get': 'echo "W: warning" >&2; echo "E: Could not resolve deb.debian.org" >&2; echo "E: more" >&2; exit 100'},
    /^apt-get update failed: Could not resolve deb\.debian\.org$/,
    /look whether this machine reaches the package servers; or .*kernel = /,
  ],
  [
    'servers that apt only warns about',
    {'apt-get': 'echo "W: Failed to fetch http://deb.debian.org/x  Connection refused" >&2', 'apt-cache': 'exit 100'},
    /^apt-get update cannot read the package lists: Failed to fetch http:\/\/deb\.debian\.org\/x {2}Connection refused$/,
    /reaches the package servers/,
  ],
  ['no such package', {'apt-cache': 'exit 100'}, /hold no package "linux-image-cloud-amd64"$/, /kernel = /],
  [
    'another kind of package',
    {'apt-cache': 'echo "Package: x"; echo "Depends: something-else"'},
    /^Debian's packages are not as expected: .*depends on no kernel: "something-else"$/,
    /kernel = /,
  ],
  ['packages without contents', {'dpkg-deb': 'true'}, /holds no boot\/vmlinuz-6\.1\.0-9-cloud-amd64$/, /kernel = /],
  [
    'a broken package',
    {'dpkg-deb': 'echo "dpkg-deb: error: not a Debian format archive" >&2; exit 2'},
    /^dpkg-deb cannot unpack .*not a Debian format archive$/,
    /kernel = /,
  ],
]

for (const [name, changes, message, hint] of failures) {
  t.test(name, async t => {
    const {result} = await attempt(t, changes)
    t.equal(result.name, 'OperatorError')
    t.match(result.message, message)
    t.match(result.hint, hint)
  })
}
