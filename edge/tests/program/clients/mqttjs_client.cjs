// One story of a client, told with MQTT.js: see tests/program/clients.rs for what it stands for.
//
// Usage: mqttjs_client.cjs LINK ADDRESS VERSION [CA], as paho_client.py. Prints "ok" and ends with
// 0, or says what was wrong.
const assert = require('node:assert')
const fs = require('node:fs')
const mqtt = require('mqtt')

const PATIENCE = 20_000
const [link, address, version, ca] = process.argv.slice(2)
const isNew = version === '5'
const name = `m${version}-${link}`.replace('+', '-')
const topic = `clients/${name}`
const scheme = { tcp: 'mqtt', tls: 'mqtts', websockets: 'ws', 'websockets+tls': 'wss', unix: 'mqtt+unix' }[link]
const url = link === 'unix' ? `${scheme}://${address}` : `${scheme}://${address}/mqtt`

function inTime (promise, what) {
  let timer
  const late = new Promise((_resolve, reject) => {
    timer = setTimeout(() => reject(new Error(`not in time: ${what}`)), PATIENCE)
  })
  return Promise.race([promise, late]).finally(() => clearTimeout(timer))
}

class Client {
  static async connect (clientId, isKept) {
    const self = new Client()
    self.waiting = []
    self.messages = []
    const options = { clientId, clean: !isKept, reconnectPeriod: 0, protocolVersion: { 31: 3, 311: 4, 5: 5 }[version] }
    if (version === '31') options.protocolId = 'MQIsdp'
    if (isNew) options.properties = { sessionExpiryInterval: isKept ? 300 : 0 }
    if (ca) options.ca = fs.readFileSync(ca)
    self.client = mqtt.connect(url, options)
    self.client.on('message', (at, payload, packet) => {
      const next = self.waiting.shift()
      if (next) next(packet)
      else self.messages.push(packet)
    })
    const connack = await inTime(new Promise((resolve, reject) => {
      self.client.once('connect', resolve)
      self.client.once('error', reject)
    }), 'connect')
    self.isPresent = connack.sessionPresent
    return self
  }

  async subscribe (filter, qos) {
    const granted = await inTime(this.client.subscribeAsync(filter, { qos }), 'subscribe')
    assert.deepStrictEqual(granted.map((it) => it.qos), [qos])
  }

  publish (at, payload, options) {
    return inTime(this.client.publishAsync(at, payload, options), `publish ${at}`)
  }

  async take (at, payload, qos, retain = false) {
    const packet = this.messages.shift() ??
      await inTime(new Promise((resolve) => this.waiting.push(resolve)), `message on ${at}`)
    assert.deepStrictEqual([packet.topic, packet.qos, packet.retain], [at, qos, retain])
    assert.ok(packet.payload.equals(payload), `payload on ${at}`)
    return packet
  }

  end () {
    return inTime(this.client.endAsync(), 'end')
  }
}

async function story () {
  let client = await Client.connect(name, true)
  assert.ok(!client.isPresent)
  await client.subscribe(`${topic}/#`, 2)
  for (const qos of [0, 1, 2]) {
    const payload = Buffer.from([0, 255, qos])
    await client.publish(`${topic}/qos`, payload, { qos })
    await client.take(`${topic}/qos`, payload, qos)
  }
  const large = Buffer.alloc(200_000, 'abcdefg')
  await client.publish(`${topic}/large`, large, { qos: 1 })
  await client.take(`${topic}/large`, large, 1)
  if (isNew) {
    const properties = {
      responseTopic: 'answers',
      correlationData: Buffer.from([1, 2]),
      userProperties: { a: ['1', '2'] },
      messageExpiryInterval: 100
    }
    await client.publish(`${topic}/asked`, '?', { qos: 1, properties })
    const got = (await client.take(`${topic}/asked`, Buffer.from('?'), 1)).properties
    assert.strictEqual(got.responseTopic, 'answers')
    assert.deepStrictEqual([...got.correlationData], [1, 2])
    assert.deepStrictEqual([...got.userProperties.a], ['1', '2'])
    assert.ok(got.messageExpiryInterval > 90 && got.messageExpiryInterval <= 100)
  }
  await client.publish(`${topic}/kept`, 'on', { qos: 1, retain: true })
  await client.take(`${topic}/kept`, Buffer.from('on'), 1)
  await client.end()

  const other = await Client.connect(`${name}-2`, false)
  await other.subscribe(`${topic}/kept`, 1)
  await other.take(`${topic}/kept`, Buffer.from('on'), 1, true)
  await other.publish(`${topic}/kept`, '', { qos: 1, retain: true })
  await other.publish(`${topic}/missed`, 'while away', { qos: 2 })
  await other.end()

  client = await Client.connect(name, true)
  assert.ok(version === '31' || client.isPresent)
  await client.take(`${topic}/kept`, Buffer.alloc(0), 1)
  await client.take(`${topic}/missed`, Buffer.from('while away'), 2)
  await client.end()
}

story().then(() => console.log('ok'), (error) => {
  console.error(error)
  process.exit(1)
})
