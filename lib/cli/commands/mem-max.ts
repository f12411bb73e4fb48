/** `xl mem-max`: the most that a domain may ever have. */
import {command} from '../command.js'
import {setMemory} from '../set-memory.js'

export default command({
  name: 'mem-max',
  summary: 'Set the maximum amount reserved for a domain',
  usage: '<Domain> <Memory[b|k|m|g|t]>',
  minimumArguments: 2,
  maximumArguments: 2,
  modifies: true,
  options: [],
  run: context => setMemory(context, 'maximum'),
})
