/** `xl help`: the list of commands, or one of them in full. */
import {command} from '../command.js'
import {commandHelp, fullHelp} from '../help.js'
import {commandNames, loadCommand} from './index.js'

export default command({
  name: 'help',
  summary: 'Show the list of commands, or the usage of one',
  usage: '[command]',
  minimumArguments: 0,
  options: [],
  async run({report, arguments: [name]}) {
    if (name === undefined) report.write(await fullHelp())
    else if (commandNames.includes(name)) report.write(commandHelp(await loadCommand(name)))
    else report.print(`command "${name}" not implemented`)
  },
})
