/** The JSON of `xl list -l` and `xl create -n`, byte for byte as scripts grep it. */
import t from 'tap'
import {configToJson, printJson} from '../../lib/toolstack/config-json.js'
import {parseConfig} from '../../lib/toolstack/config-parser.js'
import {checkConfig} from '../../lib/toolstack/config-schema.js'

const text = `
name = "web1"
uuid = "59e1cf6c-6ab9-4879-90e7-adc8d1c63bf5"
kernel = "/boot/vmlinuz"
cmdline = "root=/dev/xvda1"
memory = 512
disk = [ "/img/web1.raw,raw,xvda,w" ]
vif = [ "mac=00:16:3e:5f:48:e4,bridge=xenbr0" ]
`
const {config} = checkConfig(parseConfig({name: 'c', text}), {
  newUuid: () => '',
  resolvePath: path => path,
  hostCpus: 4,
})

t.equal(
  printJson([{domid: 3, config: configToJson(config)}]),
  `[
    {
        "domid": 3,
        "config": {
            "c_info": {
                "type": "pv",
                "name": "web1",
                "uuid": "59e1cf6c-6ab9-4879-90e7-adc8d1c63bf5",
                "run_hotplug_scripts": "True"
            },
            "b_info": {
                "max_vcpus": 1,
                "avail_vcpus": [
                    0
                ],
                "max_memkb": 524288,
                "target_memkb": 524288,
                "sched_params": {

                },
                "claim_mode": "True",
                "kernel": "/boot/vmlinuz",
                "cmdline": "root=/dev/xvda1",
                "type.pv": {

                }
            },
            "disks": [
                {
                    "pdev_path": "/img/web1.raw",
                    "vdev": "xvda",
                    "format": "raw",
                    "readwrite": 1
                }
            ],
            "nics": [
                {
                    "devid": 0,
                    "mac": "00:16:3e:5f:48:e4",
                    "bridge": "xenbr0"
                }
            ],
            "on_reboot": "restart",
            "on_soft_reset": "soft_reset"
        }
    }
]
`,
)
t.equal(printJson([]), '[\n\n]\n')
t.equal(printJson('a"b'), '"a\\"b"\n')
