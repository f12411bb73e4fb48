/**
 * The catalogue in a cache folder of its own, with made-up recipes: nothing here reaches the network. Fetches at once, fetches cut
 * short, images of an older recipe, folders that cannot be written.
 */
import {existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync} from 'node:fs'
import {join} from 'node:path'
import t from 'tap'
import {OperatorError} from '../../../lib/base/errors.js'
import {identityOf} from '../../../lib/control/process-identity.js'
import {cacheFolder} from '../../../lib/toolstack/cache-folder.js'
import {catalogue, fetchImage, listImages, type Recipe, removeImage} from '../../../lib/toolstack/images/catalogue.js'

/** A recipe whose files hold `contents`; counts how often it is used. */
function recipe(contents: string, before: () => Promise<void> | void = () => {}): Recipe & {builds: number} {
  return {
    name: 'test',
    summary: 'made up',
    version: contents,
    builds: 0,
    async build(target, scratch, report) {
      this.builds++
      report('building')
      writeFileSync(join(scratch, 'waste'), 'waste')
      writeFileSync(join(target, 'vmlinuz'), `kernel ${contents}`)
      await before()
      writeFileSync(join(target, 'initrd.gz'), `ramdisk ${contents}`)
      return {packages: {made: '1'}, release: '6.1.0-test', cmdline: 'console=hvc0'}
    },
  }
}

const rejection = (promise: Promise<unknown>) =>
  promise.then(
    () => undefined,
    error => error as OperatorError,
  )

t.test('fetch, list, fetch again, remove', async t => {
  const cacheDir = join(t.testdir(), 'not', 'there', 'yet')
  const test = recipe('one')
  const reports: string[] = []
  const image = await fetchImage('test', {cacheDir, recipes: [test], report: text => reports.push(text)})
  t.equal(readFileSync(image.kernel, 'utf8'), 'kernel one')
  t.equal(readFileSync(image.ramdisk, 'utf8'), 'ramdisk one')
  t.equal(image.cmdline, 'console=hvc0')
  t.same(reports, ['building'])
  t.same(readdirSync(join(cacheDir, 'images')), ['test'], 'nothing else is left')
  t.same(readdirSync(join(cacheDir, 'images', 'test')).sort(), ['image.json', 'initrd.gz', 'vmlinuz'])
  t.same(await listImages(cacheDir, [test]), [
    {name: 'test', summary: 'made up', present: true, version: '6.1.0-test', sizeBytes: 21},
  ])
  t.same(await fetchImage('test', {cacheDir, recipes: [test]}), image)
  t.equal(test.builds, 1, 'a present image is not built again')
  await removeImage('test', cacheDir, [test])
  t.same(await listImages(cacheDir, [test]), [{name: 'test', summary: 'made up', present: false}])
  t.match(await rejection(removeImage('test', cacheDir, [test])), {message: 'image "test" has not been fetched'})
})

t.test('an image of an older recipe is replaced, but serves on when that fails', async t => {
  const cacheDir = t.testdir()
  const image = await fetchImage('test', {cacheDir, recipes: [recipe('old')]})
  const failing = recipe('new', () => {
    throw new OperatorError('no network')
  })
  const reports: string[] = []
  t.same(await fetchImage('test', {cacheDir, recipes: [failing], report: text => reports.push(text)}), image)
  t.equal(readFileSync(image.kernel, 'utf8'), 'kernel old')
  t.match(reports.at(-1), /keeping the image fetched earlier: no network/)
  await fetchImage('test', {cacheDir, recipes: [recipe('new')]})
  t.equal(readFileSync(image.kernel, 'utf8'), 'kernel new')
  t.same(readdirSync(join(cacheDir, 'images')), ['test'])
})

t.test('two fetches at once', async t => {
  const cacheDir = t.testdir()
  // Both are in the middle of building before either may go on.
  let arrived = 0
  let open = () => {}
  const gate = new Promise<void>(resolve => {
    open = resolve
  })
  const test = recipe('same', () => {
    if (++arrived === 2) open()
    return gate
  })
  const images = await Promise.all([1, 2].map(() => fetchImage('test', {cacheDir, recipes: [test]})))
  t.equal(test.builds, 2)
  t.same(images[0], images[1])
  t.equal(readFileSync(images[0].ramdisk, 'utf8'), 'ramdisk same')
  t.same(readdirSync(join(cacheDir, 'images')), ['test'], 'the slower one left nothing')
})

t.test('a fetch that fails leaves nothing', async t => {
  const cacheDir = t.testdir()
  const failing = recipe('x', () => {
    throw new OperatorError('the mirror is down')
  })
  t.match(await rejection(fetchImage('test', {cacheDir, recipes: [failing]})), {message: 'the mirror is down'})
  t.same(readdirSync(join(cacheDir, 'images')), [])
})

t.test('what a killed fetch left is swept away, what a living one has is not', async t => {
  const cacheDir = t.testdir()
  const images = join(cacheDir, 'images')
  const {pid, startTime} = identityOf()
  const dead = join(images, `.fetch-${pid}-${Number(startTime) + 1}-abc`)
  const living = join(images, `.fetch-${pid}-${startTime}-abc`)
  for (const folder of [dead, living]) mkdirSync(join(folder, 'image'), {recursive: true})
  // Half an image from before there were work folders, say: no manifest.
  mkdirSync(join(images, 'test'))
  writeFileSync(join(images, 'test', 'vmlinuz'), 'half')
  t.same(await listImages(cacheDir, [recipe('x')]), [{name: 'test', summary: 'made up', present: false}])
  const image = await fetchImage('test', {cacheDir, recipes: [recipe('x')]})
  t.equal(readFileSync(image.kernel, 'utf8'), 'kernel x')
  t.equal(existsSync(dead), false)
  t.equal(existsSync(living), true)
})

t.test('unknown names', async t => {
  const cacheDir = t.testdir()
  for (const name of ['nothing', '', '../test', 'constructor']) {
    const error = await rejection(fetchImage(name, {cacheDir, recipes: [recipe('x')]}))
    t.match(error, {message: `there is no image "${name}"`, hint: /images are: test;/})
    t.match(await rejection(removeImage(name, cacheDir)), {name: 'OperatorError'})
  }
})

t.test('a cache folder that cannot be', async t => {
  const folder = t.testdir({file: ''})
  const error = await rejection(fetchImage('test', {cacheDir: join(folder, 'file', 'cache'), recipes: [recipe('x')]}))
  t.type(error, OperatorError)
  t.match(error?.message, /cannot write to the image cache ".*file.cache.images": a part of the path is not a folder/)
  t.match(error?.hint, /XDG_CACHE_HOME/)
  if (existsSync('/proc/self')) {
    const nowhere = await rejection(fetchImage('test', {cacheDir: '/proc/none/cache', recipes: [recipe('x')]}))
    t.match(nowhere?.message, /cannot write to the image cache "\/proc\/none\/cache\/images"/)
  }
  const full = recipe('x', () => {
    throw Object.assign(new Error('ENOSPC: no space left on device, write'), {code: 'ENOSPC', syscall: 'write'})
  })
  t.match(await rejection(fetchImage('test', {cacheDir: folder, recipes: [full]})), {message: /no space left$/})
})

t.test('where the cache is', t => {
  t.equal(cacheFolder({XDG_CACHE_HOME: '/var/tmp/c', HOME: '/home/a'}), '/var/tmp/c/gastwirt')
  t.equal(cacheFolder({HOME: '/home/a'}), '/home/a/.cache/gastwirt')
  t.equal(cacheFolder({XDG_CACHE_HOME: 'relative', HOME: '/home/a'}), '/home/a/.cache/gastwirt')
  t.equal(cacheFolder({XDG_CACHE_HOME: '', HOME: '/home/a'}), '/home/a/.cache/gastwirt')
  t.same(
    catalogue.map(({name}) => name),
    ['debian'],
  )
  t.end()
})
