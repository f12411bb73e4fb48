/**
 * When generated code returns to the run loop: its budget of transitions is used up, or somebody has set `pending`. And the list of regions that want
 * to be optimized, which the run loop looks at then.
 */
import {Code, type Module} from '../wasm/builder.js'
import {hotList, state} from './state.js'

/** Counts the budget down; pushes whether it is used up or something waits. `scratch` is an i32 local. */
export function pushPreempted(code: Code, cpu: number, scratch: number): void {
  code.localGet(cpu)
  code.localGet(cpu)
  code.memory('i32.load', state.budget)
  code.i32Const(1)
  code.op('i32.sub')
  code.localTee(scratch)
  code.memory('i32.store', state.budget)
  code.localGet(scratch)
  code.i32Const(0)
  code.op('i32.lt_s')
  code.localGet(cpu)
  code.memory('i32.atomic.load', state.pending)
  code.op('i32.or')
}

/**
 * Adds `noteHot(counter)`: a region's counter has run down. It is noted for the run loop, which looks soon (the budget is used up), and starts again, so that the
 * region is left now and then.
 */
export function addHotList(module: Module, cpuBase: number): void {
  const code = new Code(['i32'])
  const [counter] = [0]
  const cpu = code.local('i32')
  const count = code.local('i32')
  code.localGet(counter)
  code.i32Const(hotList.again)
  code.memory('i32.store')
  code.i32Const(cpuBase)
  code.localTee(cpu)
  code.memory('i32.load', hotList.count)
  code.localTee(count)
  code.i32Const(hotList.entries)
  code.op('i32.lt_u')
  code.if()
  code.localGet(cpu)
  code.localGet(count)
  code.i32Const(2)
  code.op('i32.shl')
  code.op('i32.add')
  code.localGet(counter)
  code.memory('i32.store', hotList.start)
  code.localGet(cpu)
  code.localGet(count)
  code.i32Const(1)
  code.op('i32.add')
  code.memory('i32.store', hotList.count)
  code.end()
  code.localGet(cpu)
  code.i32Const(0)
  code.memory('i32.store', state.budget)
  module.function('noteHot', ['i32'], [], code)
}
