/** The process of `xl`, which bin/xl starts. */
import {runProgram} from './program.js'

void runProgram()
