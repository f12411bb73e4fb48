/**
 * A transport for migrations in tests: joins standard input and output with the Unix socket that is its first argument. The others are what ssh would
 * have: host, "xl", "migrate-receive" and its options, which go ahead as a line.
 */
import {connect} from 'node:net'

const socket = connect({path: process.argv[2], allowHalfOpen: true})
socket.on('error', () => process.exit(1))
process.stdout.on('error', () => process.exit(1))
socket.write(`${process.argv.slice(6).join(' ')}\n`)
process.stdin.pipe(socket)
socket.pipe(process.stdout)
// As an ssh does: it ends with the command at the other end.
socket.on('end', () => process.exit(0))
socket.on('close', () => process.exit(0))
