/** `xl reboot`: asks the guest to reboot. */
import {command} from '../command.js'
import {requestShutdown} from '../lifecycle-request.js'

export default command({
  name: 'reboot',
  summary: 'Issue a reboot signal to a domain',
  usage: '[options] <-a|Domain>',
  minimumArguments: 0,
  modifies: true,
  options: [
    ['-a, --all', 'Reboot all guest domains'],
    ['-w, --wait', 'Wait for guest(s) to shutdown; given twice, wait until they are destroyed'],
    ['-F', 'Fallback to ACPI reset event for HVM guests with no PV drivers'],
  ],
  run: context => requestShutdown(context, 'reboot', 'Rebooting', 'reboot'),
})
