/** `xl shutdown`: asks the guest to power off. */
import {command} from '../command.js'
import {requestShutdown} from '../lifecycle-request.js'

export default command({
  name: 'shutdown',
  summary: 'Issue a shutdown signal to a domain',
  usage: '[options] <-a|Domain>',
  minimumArguments: 0,
  modifies: true,
  options: [
    ['-a, --all', 'Shutdown all guest domains'],
    ['-w, --wait', 'Wait for guest(s) to shutdown; given twice, wait until they are destroyed'],
    ['-F', 'Fallback to ACPI power event for HVM guests with no PV drivers'],
  ],
  run: context => requestShutdown(context, 'poweroff', 'Shutting down', 'shutdown'),
})
