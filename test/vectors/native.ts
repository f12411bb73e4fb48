/**
 * Compiles native.c and runs groups on the real processor.
 */
import {spawnSync} from 'node:child_process'
import {mkdtempSync, readFileSync, rmSync} from 'node:fs'
import {tmpdir} from 'node:os'
import {join} from 'node:path'
import {fileURLToPath} from 'node:url'
import type {Processor} from './file.js'
import type {Group} from './generator.js'
import {InputGenerator} from './inputs.js'
import {stateBytes, VectorState} from './state.js'

const source = fileURLToPath(new URL('../../../test/vectors/native.c', import.meta.url))
const groupHeaderBytes = 48
const batchCases = 16384

/** Whether this machine can make vectors: an x86-64 Linux with a C compiler. */
export function canRunNatively(): boolean {
  return process.platform === 'linux' && process.arch === 'x64' && spawnSync('gcc', ['--version']).status === 0
}

/** Whether the page at 0x8000 can be mapped, which 16-bit addresses need. */
export function canMapLowPages(): boolean {
  return process.getuid?.() === 0 || Number(readFileSync('/proc/sys/vm/mmap_min_addr', 'utf8')) <= 0x8000
}

/** Runs all cases of the groups; the result holds their output states one after the other. */
export function runNatively(groups: readonly Group[]): Buffer {
  const directory = mkdtempSync(join(tmpdir(), 'vectors-'))
  try {
    const program = join(directory, 'native')
    const compile = spawnSync('gcc', ['-O2', '-fno-stack-protector', '-o', program, source], {encoding: 'utf8'})
    if (compile.status !== 0) throw new Error(`gcc failed on ${source}:\n${compile.stderr}`)
    const cases = groups.reduce((sum, group) => sum + group.count, 0)
    const outputs = Buffer.from(new ArrayBuffer(cases * stateBytes))
    let at = 0
    for (let first = 0; first < groups.length; ) {
      let last = first
      let batch = 0
      while (last < groups.length && (batch === 0 || batch + groups[last].count <= batchCases))
        batch += groups[last++].count
      const result = runBatch(program, groups.slice(first, last), batch)
      result.copy(outputs, at)
      at += result.length
      first = last
    }
    return outputs
  } finally {
    rmSync(directory, {recursive: true})
  }
}

function runBatch(program: string, groups: readonly Group[], cases: number): Buffer {
  const input = Buffer.alloc(groups.length * groupHeaderBytes + cases * stateBytes)
  const generator = new InputGenerator(new VectorState())
  let at = 0
  for (const group of groups) {
    for (const value of [group.count, group.bits, group.codeAddress, group.dataAddress, group.code.length]) {
      at = input.writeUInt32LE(value, at)
    }
    input.set(group.code, at)
    at += groupHeaderBytes - 20
    generator.begin(group)
    for (let i = 0; i < group.count; i++) {
      generator.next()
      input.set(generator.state.bytes, at)
      at += stateBytes
    }
  }
  const run = spawnSync(program, {input, maxBuffer: cases * stateBytes + 4096})
  if (run.status !== 0 || run.stdout.length !== cases * stateBytes) {
    const group = groups[Math.min(groups.length - 1, groupAt(groups, Math.floor(run.stdout.length / stateBytes)))]
    throw new Error(`native run failed (${run.signal ?? run.status}) near ${group.form.name}: ${run.stderr}`)
  }
  return run.stdout
}

function groupAt(groups: readonly Group[], cases: number): number {
  let seen = 0
  return groups.findIndex(group => {
    seen += group.count
    return seen > cases
  })
}

/** The processor of this machine, from /proc/cpuinfo. */
export function thisProcessor(): Processor {
  const info = readFileSync('/proc/cpuinfo', 'utf8')
  const field = (name: string) => new RegExp(`^${name}\\s*: (.*)$`, 'm').exec(info)?.[1] ?? ''
  return {
    vendor: field('vendor_id'),
    name: field('model name'),
    family: Number(field('cpu family')),
    model: Number(field('model')),
    stepping: Number(field('stepping')),
    microcode: field('microcode'),
    kernel: readFileSync('/proc/sys/kernel/osrelease', 'utf8').trim(),
    features: field('flags').split(' '),
  }
}
