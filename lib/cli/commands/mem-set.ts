/** `xl mem-set`: how much memory its guest is to use. */
import {command} from '../command.js'
import {setMemory} from '../set-memory.js'

export default command({
  name: 'mem-set',
  summary: 'Set the current memory usage for a domain',
  usage: '<Domain> <Memory[b|k|m|g|t]>',
  minimumArguments: 2,
  maximumArguments: 2,
  modifies: true,
  options: [],
  run: context => setMemory(context, 'target'),
})
