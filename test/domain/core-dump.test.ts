/** Cores of real domains (of a few instructions): by hand, and because a configuration asks for one when the guest crashes. */
import {existsSync, mkdirSync, readdirSync, readFileSync, statSync} from 'node:fs'
import {join} from 'node:path'
import t from 'tap'
import {CoreHeader, CoreNote, coreMagic, GuestContext} from '../../lib/abi/core-dump.js'
import {Hypercall} from '../../lib/abi/xen.js'
import {readElf} from '../../lib/domain/elf.js'
import {Shutdown, TinyGuest} from '../support/tiny-guest.js'
import {realXl, TestHost, until} from '../support/xl.js'

t.setTimeout(280_000)

const pages = 2048
const schedBlock = 1
const marker = 0x1122334455667788n

/** A guest with a marker in R12 and in its memory, to which it leaves the address in RBX. */
function marked(): TinyGuest {
  const guest = new TinyGuest()
  const at = guest.data(Buffer.from('marked page'))
  return guest.print('here\r\n').move('r12', marker).move('rbx', at)
}

function config(host: TestHost, name: string, guest: TinyGuest, text = ''): string {
  const kernel = host.file(`${name}.kernel`, guest.kernel())
  return host.file(`${name}.cfg`, `name = "${name}"\nkernel = "${kernel}"\nmemory = ${pages / 256}\n${text}\n`)
}

/** What a debugger takes from a core. */
function readCore(path: string) {
  const file = readFileSync(path)
  const number = (at: number) => Number(file.readBigUInt64LE(at))
  const headers = Array.from({length: file.readUInt16LE(60)}, (_, index) => number(40) + index * file.readUInt16LE(58))
  const section = (header: number) => file.subarray(number(header + 24), number(header + 24) + number(header + 32))
  const names = section(headers[file.readUInt16LE(62)])
  const nameOf = (header: number) => {
    const at = file.readUInt32LE(header)
    return names.toString('latin1', at, names.indexOf(0, at))
  }
  const sections = new Map(headers.map(header => [nameOf(header), section(header)]))
  const context = sections.get('.xen_prstatus')!
  const p2m = sections.get('.xen_p2m')!
  const pfns = Array.from({length: p2m.length / 16}, (_, index) => Number(p2m.readBigUInt64LE(index * 16)))
  return {type: file.readUInt16LE(16), notes: readElf(file).notes, sections, context, pfns, file}
}

/** The text that RBX points to, found as a debugger would: the guest's addresses begin at its first page. */
function textOf({context, pfns, sections}: ReturnType<typeof readCore>): string {
  const address = context.readBigUInt64LE(GuestContext.generalRegisters + 5 * 8)
  const offset = Number(address & 0x7fffffffn)
  const at = pfns.indexOf(offset >>> 12) * 4096 + (offset & 4095)
  return sections.get('.xen_pages')!.toString('latin1', at, at + 11)
}

t.test('of a domain that runs', async t => {
  const host = new TestHost(realXl)
  t.teardown(() => host.close())
  const guest = marked()
  guest.forEver(() => guest.hypercall(Hypercall.schedOp, schedBlock, 0))
  await host.xl(['create', '-q', config(host, 'runs', guest)])
  await until(() => host.printed('runs') === 'here\r\n')
  const path = join(host.folder, 'core')
  t.match(await host.xl(['dump-core', 'runs', path]), {status: 0, stdout: '', stderr: ''})
  const core = readCore(path)
  t.equal(core.type, 4, 'ET_CORE')
  t.strictSame([...core.sections.keys()].slice(1), [
    '.shstrtab',
    '.note.Xen',
    '.xen_prstatus',
    '.xen_shared_info',
    '.xen_p2m',
    '.xen_pages',
  ])
  t.strictSame(
    core.notes.map(({owner, type, description}) => [owner, type, description.length]),
    [
      ['Xen', CoreNote.none, 0],
      ['Xen', CoreNote.header, 32],
      ['Xen', CoreNote.xenVersion, 1280],
      ['Xen', CoreNote.formatVersion, 8],
    ],
  )
  const {description} = core.notes[1]
  t.strictSame(CoreHeader.read(new DataView(description.buffer, description.byteOffset), 0), {
    magic: coreMagic,
    vcpus: 1n,
    pages: BigInt(pages),
    pageBytes: 4096n,
  })
  t.strictSame(
    core.pfns,
    [...core.pfns].sort((a, b) => a - b),
  )
  t.equal(core.sections.get('.xen_pages')!.length, pages * 4096)
  t.equal(core.context.length, GuestContext.bytes)
  t.equal(core.context.readBigUInt64LE(GuestContext.generalRegisters + 3 * 8), marker, 'R12')
  t.equal(textOf(core), 'marked page')
  t.ok(statSync(path).blocks * 512 < core.file.length / 2, 'pages of zeros take no room')

  t.match(await host.xl(['list', 'runs']), {stdout: / (-b|r-)---- /}, 'it goes on')
  await host.xl(['pause', 'runs'])
  t.match(await host.xl(['dump-core', 'runs', path]), {status: 0}, 'again, paused, over the one before')
  t.match(await host.xl(['list', 'runs']), {stdout: / --p--- /})
  mkdirSync(join(host.folder, 'folder'))
  for (const [target, why] of [
    [join(host.folder, 'missing', 'core'), 'no such folder'],
    [join(host.folder, 'folder'), 'it is a folder'],
  ])
    t.match(await host.xl(['dump-core', 'runs', target]), {
      status: 1,
      stderr: new RegExp(`^xl: dump-core: cannot write ".*": ${why}\ncore dump failed \\(rc=-3\\)\n$`),
    })
  t.strictSame(
    readdirSync(host.folder).filter(name => name.endsWith('partial')),
    [],
  )
  t.match(await host.xl(['dump-core', '99', path]), {status: 1, stderr: /Domain 99:No such process\n/})
})

t.test('of a guest that crashes', async t => {
  const host = new TestHost(realXl)
  t.teardown(() => host.close())
  const guest = marked().shutDown(Shutdown.crash)
  await host.xl(['create', '-q', '-F', config(host, 'bad', guest, 'on_crash = "coredump-destroy"')])
  t.strictSame(host.directory.list(), [], 'destroyed')
  const path = join(host.path, 'dump', 'bad')
  t.equal(textOf(readCore(path)), 'marked page')
  t.match(
    readFileSync(host.directory.logPath('bad'), 'utf8'),
    new RegExp(`^Action for .* is coredump-destroy\ndumping core to ${path}\nDomain 1 needs to be cleaned up`, 'm'),
  )

  await host.xl(['create', '-q', config(host, 'again', guest, 'on_crash = "coredump-restart"')])
  await until(() => (host.directory.find({name: 'again'})?.domid ?? 0) > 3)
  t.ok(existsSync(join(host.path, 'dump', 'again')))
  t.match(await host.xl(['destroy', 'again']), {status: 0, stderr: ''})
  t.match(readdirSync(join(host.path, 'dump')).sort(), ['again', 'bad'], 'nothing half written is left')
})

t.test('that cannot be written', async t => {
  const host = new TestHost(realXl)
  t.teardown(() => host.close())
  const guest = new TinyGuest().shutDown(Shutdown.crash)
  await host.xlLimited(16, ['create', '-q', '-F', config(host, 'bad', guest, 'on_crash = "coredump-destroy"')])
  t.strictSame(host.directory.list(), [], 'the domain ends as it should')
  t.strictSame(readdirSync(join(host.path, 'dump')), [])
  t.match(readFileSync(host.directory.logPath('bad'), 'utf8'), /^core dump failed: cannot write ".*": the file size/m)
})
