/** Reading a socket into buffers that are used again: nothing is lost, mixed up or overwritten, however slowly it is used. */
import {once} from 'node:events'
import {mkdtempSync, rmSync} from 'node:fs'
import {createConnection, createServer, type Socket} from 'node:net'
import {tmpdir} from 'node:os'
import {join} from 'node:path'
import {Writable} from 'node:stream'
import t, {type Test} from 'tap'
import {PieceQueue} from '../../lib/control/piece-queue.js'

/** More than all buffers hold, and no two parts alike. */
const all = Buffer.from(Uint32Array.from({length: 1_000_000}, (_, index) => index * 2_654_435_761).buffer)

/** A queue of what a server sends. */
async function queueOf(t: Test, serve: (socket: Socket) => void): Promise<PieceQueue> {
  const folder = mkdtempSync(join(tmpdir(), 'gastwirt-test-'))
  const server = createServer(serve)
  const path = join(folder, 'socket')
  server.listen(path)
  await once(server, 'listening')
  const pieces = new PieceQueue(onread => createConnection({path, onread}))
  t.teardown(() => {
    pieces.close()
    server.close()
    rmSync(folder, {recursive: true, force: true})
  })
  return pieces
}

t.test('pieces are used in parts, with pauses', async t => {
  const pieces = await queueOf(t, socket => socket.end(all))
  const parts: Buffer[] = []
  for (let piece = await pieces.next(); piece !== undefined; piece = await pieces.next()) {
    const part = Buffer.from(piece.subarray(0, 1 + ((parts.length * 7919) % 100_000)))
    parts.push(part)
    await new Promise(setImmediate)
    pieces.skip(part.length)
  }
  t.ok(Buffer.concat(parts).equals(all))
  t.equal(await pieces.next(), undefined, 'the end stays the end')
})

t.test('written to what takes its time', async t => {
  const pieces = await queueOf(t, socket => socket.end(all))
  const taken: Buffer[] = []
  const out = new Writable({
    // Looked at as late as can be: an overwritten buffer would show.
    write: (chunk, _, done) =>
      setImmediate(() => {
        taken.push(Buffer.from(chunk))
        done()
      }),
  })
  await pieces.writeTo(out)
  t.ok(Buffer.concat(taken).equals(all))
})

t.test('written to what fails', async t => {
  const pieces = await queueOf(t, socket => {
    socket.on('error', () => {})
    socket.write(all)
  })
  const out = new Writable({write: (_chunk, _, done) => done(new Error('it is full'))})
  await t.rejects(pieces.writeTo(out), {message: 'it is full'})
})

t.test('a connection that breaks', async t => {
  const pieces = await queueOf(t, socket => void socket.write('its last words'))
  t.equal((await pieces.next())?.toString(), 'its last words')
  pieces.socket.destroy(new Error('cut'))
  await new Promise(resolve => pieces.socket.once('close', resolve))
  pieces.skip(14)
  await t.rejects(pieces.next(), {message: 'cut'})
})
