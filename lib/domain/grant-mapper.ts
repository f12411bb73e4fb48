/**
 * Grants for the backends of Domain-0: joins what pv asks for with the hypervisor's grant table. The backend works on the guest's page where it lies,
 * so a use only marks the grant and holds the frame.
 */
import type {GrantRef} from '../base/brand.js'
import {GrantTable} from '../hypervisor/grant-table.js'
import type {MachineLayout} from '../hypervisor/layout.js'
import {WrittenFrames} from '../hypervisor/written-frames.js'
import type {GrantedPage, GrantMapper} from '../pv/environment.js'
import type {LinearMemory} from '../x86/memory.js'

const domain0 = 0

/** The grants of a guest to Domain-0. */
export class Domain0Grants implements GrantMapper {
  private readonly table: GrantTable
  private readonly written: WrittenFrames

  constructor(
    memory: LinearMemory,
    private readonly layout: MachineLayout,
  ) {
    this.table = new GrantTable(memory, layout)
    this.written = new WrittenFrames(memory, layout)
  }

  use(ref: GrantRef, access: 'read' | 'write'): GrantedPage | undefined {
    const writes = access === 'write'
    const {status, mfn} = this.table.acquire(ref, domain0, writes)
    if (status !== 0) return undefined
    return {
      address: this.layout.ramBase + mfn * 4096,
      end: () => {
        // The page may have been code.
        if (writes) this.written.mark(mfn)
        this.table.release(ref, mfn, writes)
      },
    }
  }
}
