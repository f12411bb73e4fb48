/**
 * Numbers that do not mix. Each kind of frame number, port or id has its own type, so that swapping two of them does not
 * compile. A brand exists only for the type checker: at run time these are plain numbers.
 */
export type Brand<Base, Name extends string> = Base & {readonly __brand: Name}

/** Machine frame number: indexes the domain's own machine memory. Source: xen/include/xen/mm.h. */
export type Mfn = Brand<number, 'Mfn'>
/** The guest's contiguous frame numbering. */
export type Pfn = Brand<number, 'Pfn'>
/** Grant reference, named by the granting domain. */
export type GrantRef = Brand<number, 'GrantRef'>
/** Event channel port, local to a domain. */
export type EventPort = Brand<number, 'EventPort'>
/** Domain id; 0 is the host's own Domain-0. */
export type DomId = Brand<number, 'DomId'>
/** vCPU number inside a domain. */
export type VcpuId = Brand<number, 'VcpuId'>
