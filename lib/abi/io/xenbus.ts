/**
 * The states through which a frontend and its backend agree to work together. Each end writes only its own `state` node, in
 * decimal, and watches the other's.
 * Source: public/io/xenbus.h (enum xenbus_state).
 */
export const XenbusState = {
  unknown: 0, // XenbusStateUnknown
  initialising: 1, // XenbusStateInitialising
  initWait: 2, // XenbusStateInitWait: waiting for the frontend's rings
  initialised: 3, // XenbusStateInitialised: waiting for the backend to connect
  connected: 4, // XenbusStateConnected
  closing: 5, // XenbusStateClosing
  closed: 6, // XenbusStateClosed
  reconfiguring: 7, // XenbusStateReconfiguring
  reconfigured: 8, // XenbusStateReconfigured
} as const
