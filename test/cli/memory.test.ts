/** Memory at run time as xl tells it: texts, exit statuses, and what the host counts. Domains without a CPU; conformance/memory.test.ts has a guest. */
import {mkdirSync, writeFileSync} from 'node:fs'
import {join} from 'node:path'
import t from 'tap'
import {type Outcome, TestHost} from '../support/xl.js'

/** A host of 1024 MiB, of which guests may have 896. */
function smallHost(test: {teardown(handler: () => unknown): void}, settings = ''): TestHost {
  const host = new TestHost()
  test.teardown(() => host.close())
  mkdirSync(host.path, {recursive: true, mode: 0o700})
  writeFileSync(join(host.path, 'host.cfg'), `memory = 1024\n${settings}`)
  return host
}

const freeMib = async (host: TestHost): Promise<number> => Number((await host.xl(['info', 'free_memory'])).stdout)
const memoryOf = async (host: TestHost, name: string): Promise<string> =>
  (await host.xl(['list', name])).stdout.split('\n')[1].split(/\s+/)[2]
const fine: Outcome = {status: 0, stdout: '', stderr: ''}

t.test('what list and info show follows mem-set and mem-max', async t => {
  const host = smallHost(t)
  await host.xl(['create', host.config('a', 'memory = 200\nmaxmem = 600')])
  t.strictSame([await memoryOf(host, 'a'), await freeMib(host)], ['200', 696], 'maxmem is not counted')
  t.strictSame(await host.xl(['mem-set', 'a', '300']), fine)
  t.strictSame([await memoryOf(host, 'a'), await freeMib(host)], ['300', 596])
  t.strictSame(await host.xl(['mem-set', '1', '102400k']), fine)
  t.strictSame([await memoryOf(host, 'a'), await freeMib(host)], ['100', 796])
  t.strictSame(await host.xl(['mem-max', 'a', '1g']), {
    status: 1,
    stdout: '',
    stderr:
      'xl: mem-max: failed to free memory for the domain\nhint: "a" wants 1024 MiB; the host has 896 MiB free of 896 MiB\n' +
      'cannot set domid 1 static max memory to : 1g\n',
  })
  t.strictSame(await host.xl(['mem-max', 'a', '400']), fine)
  t.equal(await freeMib(host), 496)
  t.match(JSON.parse((await host.xl(['list', '-l', 'a'])).stdout), [{config: {b_info: {target_memkb: 102400}}}])
})

t.test('domains have no more together than the host', async t => {
  const host = smallHost(t)
  await host.xl(['create', host.config('a', 'memory = 400')])
  await host.xl(['create', host.config('b', 'memory = 400')])
  t.match(await host.xl(['mem-set', 'b', '500']), {
    status: 1,
    stdout: '',
    stderr:
      /^xl: mem-set: failed to free memory for the domain\nhint: "b" wants 500 MiB; the host has 496 MiB free of 896 MiB\ncannot set domid 2 dynamic max memory to : 500\n$/,
  })
  t.equal(await memoryOf(host, 'b'), '400')
  const both = await Promise.all(['a', 'b'].map(name => host.xl(['mem-set', name, '480'])))
  t.strictSame(both.map(({status}) => status).sort(), [0, 1], 'two at once do not both get the last of it')
  t.equal(await freeMib(host), 16)
  t.match(await host.xl(['create', host.config('c', 'memory = 17')]), {
    status: 3,
    stderr: /failed to free memory for the domain\nhint: "c" wants 17 MiB; the host has 16 MiB free of 896 MiB\n$/,
  })
})

t.test('unless the host overcommits', async t => {
  const host = smallHost(t, 'overcommit = 1\n')
  await host.xl(['create', host.config('a', 'memory = 800')])
  t.match(await host.xl(['create', '-q', host.config('b', 'memory = 800')]), fine)
  t.strictSame(await host.xl(['mem-set', 'b', '2g']), fine)
  t.equal(await freeMib(host), 0)
  t.match((await host.xl(['info', 'total_memory'])).stdout, '1024\n')
})

t.test('sharing', async t => {
  const host = smallHost(t)
  const header = 'Name                                        ID   Mem Shared\n'
  const domain0 = 'Domain-0                                     0   128      0\n'
  t.strictSame(await host.xl(['sharing']), {...fine, stdout: header + domain0})
  await host.xl(['create', host.config('a', 'extra = "shared=20480"')])
  await host.xl(['create', host.config('b', 'extra = "shared=20480"')])
  await host.xl(['create', host.config('c')])
  const rows = [
    'a                                            1    64     20\n',
    'b                                            2    64     20\n',
    'c                                            3    64      0\n',
  ]
  t.strictSame(await host.xl(['sharing']), {...fine, stdout: header + domain0 + rows.join('')})
  t.strictSame(await host.xl(['sharing', 'b']), {...fine, stdout: header + rows[1]})
  t.strictSame(await host.xl(['sharing', '0']), {...fine, stdout: header + domain0})
  t.strictSame(await host.xl(['info', 'sharing']), {...fine, stdout: '20\n20\n'}, 'saved, and used')
  t.strictSame(await host.xl(['sharing', '99']), {
    status: 1,
    stdout: '',
    stderr: "Error: Domain '99' does not exist.\n",
  })
  t.match(await host.xl(['sharing', 'nobody']), {
    status: 1,
    stdout: '',
    stderr: 'nobody is an invalid domain identifier (rc=-6)\n',
  })
})

t.test('bad sizes and domains that are not there', async t => {
  const host = smallHost(t)
  await host.xl(['create', host.config('a', 'extra = "dies"')])
  for (const command of ['mem-set', 'mem-max']) {
    for (const size of ['x', '', '-5', '0', '1.5g', '5mb', '99999999999999999999t']) {
      t.strictSame(
        await host.xl([command, 'a', '--', size]),
        {status: 1, stdout: '', stderr: `invalid memory size: ${size}\n`},
        `${command} a "${size}"`,
      )
    }
    const what = command === 'mem-set' ? 'dynamic max memory' : 'static max memory'
    t.strictSame(await host.xl([command, 'nobody', '64']), {
      status: 1,
      stdout: '',
      stderr: 'nobody is an invalid domain identifier (rc=-6)\n',
    })
    t.strictSame(await host.xl([command, '99', '64']), {
      status: 1,
      stdout: '',
      stderr: `xl: ${command}: domain 99 does not exist\ncannot set domid 99 ${what} to : 64\n`,
    })
    t.match(await host.xl([command, 'Domain-0', '64']), {
      status: 1,
      stderr: new RegExp(`^xl: ${command}: .*Domain-0.*\nhint: .*\ncannot set domid 0 ${what} to : 64\n$`),
    })
    t.match(await host.xl([command, 'a']), {
      status: 2,
      stderr: `'xl ${command}' requires at least 2 arguments.\n`,
      stdout: /^Usage: /,
    })
  }
  t.strictSame(
    await host.xl(['mem-set', 'a', '32']),
    {
      status: 1,
      stdout: '',
      stderr: 'xl: mem-set: the domain has gone\ncannot set domid 1 dynamic max memory to : 32\n',
    },
    'a domain that dies meanwhile',
  )
  t.equal(await freeMib(host), 896, 'its memory is free')
})
