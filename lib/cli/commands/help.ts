/** `xl help`: the list of commands, or one of them in full. */
import {command} from '../command.js'
import {commandHelp, fullHelp} from '../help.js'
import {loadCommand, lookUp} from './index.js'

export default command({
  name: 'help',
  summary: 'Show the list of commands, or the usage of one',
  usage: '[command]',
  minimumArguments: 0,
  options: [],
  async run({report, arguments: [word = 'help']}) {
    const name = lookUp(word)
    if (name === undefined) report.print(`command "${word}" not implemented`)
    else report.write(name === 'help' ? await fullHelp() : commandHelp(await loadCommand(name)))
  },
})
