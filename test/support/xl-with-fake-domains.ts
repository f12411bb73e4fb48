/** bin/xl, except that domain processes run fake-domain.ts. */
import {fileURLToPath} from 'node:url'
import {realWorld, runProgram} from '../../lib/cli/program.js'

await runProgram({...realWorld(), domainProgram: fileURLToPath(new URL('./fake-domain.js', import.meta.url))})
