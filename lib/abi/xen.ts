/**
 * Xen's numbers that every part needs: hypercalls, errno, special domain ids, VIRQs, shutdown reasons.
 *
 * Source: public/xen.h, public/errno.h, public/sched.h.
 */

/** Hypercall numbers. */
export const Hypercall = {
  setTrapTable: 0, // __HYPERVISOR_set_trap_table
  mmuUpdate: 1,
  setGdt: 2,
  stackSwitch: 3,
  setCallbacks: 4,
  fpuTaskswitch: 5,
  setDebugreg: 8,
  getDebugreg: 9,
  updateDescriptor: 10,
  memoryOp: 12,
  multicall: 13,
  updateVaMapping: 14,
  setTimerOp: 15,
  xenVersion: 17,
  consoleIo: 18,
  grantTableOp: 20,
  vmAssist: 21,
  iret: 23,
  vcpuOp: 24,
  setSegmentBase: 25,
  mmuextOp: 26,
  schedOp: 29,
  callbackOp: 30,
  eventChannelOp: 32,
  physdevOp: 33,
} as const

/** Error numbers; hypercalls return them negated. */
export const Errno = {
  perm: 1, // XEN_EPERM
  noent: 2,
  srch: 3,
  nxio: 6,
  fault: 14,
  nomem: 12,
  acces: 13,
  busy: 16,
  exist: 17,
  inval: 22,
  nospc: 28,
  nosys: 38,
  time: 62,
  opnotsupp: 95,
} as const

export const domidSelf = 0x7ff0 // DOMID_SELF

export const Virq = {timer: 0, debug: 1} as const

/** VIRQs that each vCPU has: TIMER, DEBUG, XENOPROF, XENPMU; one that each domain has: ARGO. The others are global. Source: public/xen.h VIRQ_*. */
export const perVcpuVirqs: readonly number[] = [0, 1, 7, 13]
export const perDomainVirqs: readonly number[] = [11]
export const virqCount = 24
