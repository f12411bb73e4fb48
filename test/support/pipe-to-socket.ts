/** A transport for migrations in tests: joins standard input and output with the Unix socket that is its argument, each direction to its own end. */
import {connect} from 'node:net'

const socket = connect({path: process.argv[2], allowHalfOpen: true})
socket.on('error', () => process.exit(1))
process.stdout.on('error', () => process.exit(1))
process.stdin.pipe(socket)
socket.pipe(process.stdout)
// As an ssh does: it ends with the command at the other end.
socket.on('end', () => process.exit(0))
socket.on('close', () => process.exit(0))
