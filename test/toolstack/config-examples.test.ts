/** Every file in config-examples/ is one that this version can run. */
import {readdirSync} from 'node:fs'
import {fileURLToPath} from 'node:url'
import t from 'tap'
import {readConfigFile} from '../../lib/toolstack/config-file.js'

const folder = fileURLToPath(new URL('../../../config-examples/', import.meta.url))
const files = readdirSync(folder)
t.ok(files.includes('debian.cfg'), 'the one that npm start uses is among them')
const names = new Set<string>()
for (const file of files) {
  const {config, notices, refusals} = await readConfigFile(folder + file, [])
  t.strictSame({notices, refusals}, {notices: [], refusals: []}, `${file} is run as it is written`)
  names.add(config.name)
}
t.equal(names.size, files.length, 'all may run beside each other')

const {config} = await readConfigFile(`${folder}debian.cfg`, ['memory=64', 'extra="quiet"'])
t.match(config, {name: 'debian', image: 'debian', memoryKb: 65536, cmdline: 'quiet'})
t.rejects(readConfigFile('/nonexistent.cfg', []), {
  message: 'Failed to read config file: /nonexistent.cfg: No such file or directory',
  exitCode: 3,
})
t.rejects(readConfigFile(folder, []), {message: /Is a directory/, exitCode: 3})
t.rejects(readConfigFile(process.execPath, []), {message: /not a text file/, exitCode: 3})
