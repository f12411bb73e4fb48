/** The part of a DomainService that saves and migrates, for services of tests that do neither. */
import type {DomainService} from '../../lib/control/protocol.js'

type Departures = 'save' | 'send' | 'sendProgress' | 'mayStop' | 'sent' | 'giveAway' | 'migrated' | 'accept'

const nowhere = (): never => {
  throw new Error('this domain goes nowhere')
}

export const noDeparture: Pick<DomainService, Departures> = {
  save: nowhere,
  send: nowhere,
  sendProgress: nowhere,
  mayStop: nowhere,
  sent: nowhere,
  giveAway: nowhere,
  migrated: nowhere,
  accept: nowhere,
}
