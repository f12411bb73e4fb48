/** The process of `npm start`, which bin/start starts. */
import {realWorld} from './program.js'
import {start} from './start.js'

void start(realWorld()).then(status => {
  process.exitCode = status
})
