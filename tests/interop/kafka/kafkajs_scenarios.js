// What kafkajs's users do, each step asserting what it sees.
//
//     kafkajs_scenarios.js [SCENARIO..] HOST:PORT[,HOST:PORT..]
//
// It ends with 0 if all scenarios pass, or those it names; it tells those that do not.

const assert = require('node:assert/strict')
const { setTimeout: sleep } = require('node:timers/promises')
const { AssignerProtocol, CompressionCodecs, CompressionTypes, ConfigResourceTypes, Kafka, logLevel } = require('kafkajs')
const lz4 = require('lz4js')
const snappy = require('kafkajs-snappy')
const zstd = require('@bokuweb/zstd-wasm')

// The codecs that need no compiler to install.
const codec = (compress, decompress) => () => ({
  compress: async encoder => Buffer.from(compress(encoder.buffer)),
  decompress: async buffer => Buffer.from(decompress(buffer)),
})
CompressionCodecs[CompressionTypes.Snappy] = snappy
CompressionCodecs[CompressionTypes.LZ4] = codec(lz4.compress, lz4.decompress)
CompressionCodecs[CompressionTypes.ZSTD] = codec(zstd.compress, zstd.decompress)

const LIMIT_MS = 30000
const SERVERS = process.argv.at(-1).split(',')

const kafka = new Kafka({ brokers: SERVERS, logLevel: logLevel.NOTHING, retry: { initialRetryTime: 50, retries: 8 } })
const impatient = new Kafka({ brokers: SERVERS, logLevel: logLevel.NOTHING, retry: { initialRetryTime: 50, retries: 2 } })
const admin = kafka.admin()

const scenarios = []
const scenario = (name, body) => scenarios.push([name, body])

let names = 0
const fresh = word => `${word}-${process.pid}-${++names}`
const numbered = (count, start = 0) => Array.from({ length: count }, (_, number) => String(start + number))
const values = messages => messages.map(message => message.value.toString())

async function eventually(condition, what) {
  const deadline = Date.now() + LIMIT_MS
  while (!(await condition())) {
    assert(Date.now() < deadline, `never: ${what}`)
    await sleep(20)
  }
}

// The type of error with which it fails, or of the first of several.
async function refused(type, promise) {
  const error = await promise.then(() => assert.fail(`${type} was not raised`), error => error)
  const causes = [error, ...(error.errors ?? []), error.cause].filter(Boolean)
  assert(causes.some(cause => cause.type === type || cause.name === type), `${type} is not ${error.stack}`)
}

async function create(options = {}) {
  const topic = fresh('topic')
  const wanted = { topic, numPartitions: 3, replicationFactor: 1, ...options }
  assert.equal(await admin.createTopics({ waitForLeaders: true, topics: [wanted] }), true)
  return topic
}

async function produce(topic, values, { partition = 0, producer = {}, ...options } = {}) {
  const client = kafka.producer(producer)
  await client.connect()
  const sent = await client.send({ topic, messages: values.map(value => ({ value, partition })), ...options })
  await client.disconnect()
  return sent
}

// A member of a group, which reads until it leaves.
class Member {
  static async join(groupId, topic, { run = {}, ...options } = {}) {
    const member = new Member()
    Object.assign(member, { topic, owned: [], messages: [] })
    member.client = kafka.consumer({ groupId, sessionTimeout: 6000, heartbeatInterval: 200, maxWaitTimeInMs: 200, ...options })
    member.client.on(member.client.events.GROUP_JOIN, ({ payload }) => {
      member.owned = payload.memberAssignment[topic] ?? []
    })
    await member.client.connect()
    await member.client.subscribe({ topic, fromBeginning: true })
    const eachMessage = async ({ partition, message }) => void member.messages.push({ partition, ...message })
    await member.client.run({ autoCommit: false, eachMessage, ...run })
    return member
  }

  async has(count) {
    await eventually(() => this.messages.length >= count, `${count} messages`)
    return this.messages
  }

  async isAssigned(count) {
    await eventually(() => this.owned.length === count, `${count} partitions are assigned`)
    return this
  }

  async leave() {
    await this.client.disconnect()
  }
}

async function readAll(topic, count) {
  const member = await Member.join(fresh('group'), topic)
  const messages = await member.has(count)
  await member.leave()
  assert.equal(messages.length, count)
  return messages
}

const isSpread = members => {
  const owned = members.flatMap(member => member.owned)
  return members.every(member => member.owned.length > 0) && owned.length === 3 && new Set(owned).size === 3
}

scenario('a topic is created with partitions and a config', async () => {
  const topic = await create({ configEntries: [{ name: 'retention.ms', value: '12345678' }] })
  assert((await admin.listTopics()).includes(topic))
  const { topics: [described] } = await admin.fetchTopicMetadata({ topics: [topic] })
  assert.deepEqual(described.partitions.map(one => one.partitionId).sort(), [0, 1, 2])
  assert(described.partitions.every(one => one.replicas.length === 1 && one.isr[0] === one.leader))
  assert.equal((await config(topic))['retention.ms'], '12345678')
})

scenario('keys, values, headers and timestamps come back', async () => {
  const topic = await create({ numPartitions: 1 })
  const client = kafka.producer()
  await client.connect()
  const message = { key: 'k', value: 'v', timestamp: '1700000000123', headers: { h: 'one', i: ['1', '2'] } }
  const [placed] = await client.send({ topic, messages: [message, { key: 'tombstone', value: null }] })
  await client.disconnect()
  assert.deepEqual([placed.partition, placed.baseOffset], [0, '0'])
  const [first, second] = await readAll(topic, 2)
  assert.deepEqual([first.key, first.value, first.timestamp], [Buffer.from('k'), Buffer.from('v'), '1700000000123'])
  assert.deepEqual(first.headers, { h: Buffer.from('one'), i: [Buffer.from('1'), Buffer.from('2')] })
  assert.deepEqual([second.key, second.value, second.offset], [Buffer.from('tombstone'), null, '1'])
})

scenario('messages of every codec come back', async () => {
  const topic = await create({ numPartitions: 1 })
  const sent = []
  for (const name of ['None', 'GZIP', 'Snappy', 'LZ4', 'ZSTD']) {
    const batch = numbered(200).map(number => `${name} ${number} `.repeat(40))
    const [placed] = await produce(topic, batch, { compression: CompressionTypes[name] })
    assert.equal(placed.baseOffset, String(sent.length))
    sent.push(...batch)
  }
  assert.deepEqual(values(await readAll(topic, 1000)), sent)
})

scenario('every acks is accepted', async () => {
  const topic = await create({ numPartitions: 1 })
  for (const acks of [0, 1, -1]) await produce(topic, numbered(20), { acks })
  assert.deepEqual(values(await readAll(topic, 60)), [...numbered(20), ...numbered(20), ...numbered(20)])
})

scenario('an idempotent producer keeps the order', async () => {
  const topic = await create({ numPartitions: 1 })
  const client = kafka.producer({ idempotent: true, maxInFlightRequests: 1 })
  await client.connect()
  for (const value of numbered(50)) await client.send({ topic, messages: [{ value }, { value: `${value}b` }] })
  await client.disconnect()
  assert.deepEqual(values(await readAll(topic, 100)), numbered(50).flatMap(value => [value, `${value}b`]))
})

scenario('members join and leave a group', async () => {
  const [topic, group] = [await create(), fresh('group')]
  const first = await (await Member.join(group, topic)).isAssigned(3)
  const second = await Member.join(group, topic)
  await eventually(() => isSpread([first, second]), 'two members share')
  const third = await Member.join(group, topic)
  const members = [first, second, third]
  await eventually(() => isSpread(members), 'three members share')
  const { groups: [described] } = await admin.describeGroups([group])
  assert.deepEqual([described.state, described.members.length], ['Stable', 3])

  for (const partition of [0, 1, 2]) await produce(topic, numbered(10), { partition })
  await eventually(() => members.every(member => member.messages.length >= 10), 'every message is read')
  for (const member of members) assert.deepEqual(values(member.messages), numbered(10))
  await first.leave()
  await eventually(() => isSpread([second, third]), 'two members are left')
  await second.leave()
  await third.isAssigned(3)
  await third.leave()
})

scenario('a group goes on where it has committed', async () => {
  const [topic, group] = [await create({ numPartitions: 1 }), fresh('group')]
  await produce(topic, numbered(20))
  const first = await Member.join(group, topic)
  await first.has(20)
  await first.client.commitOffsets([{ topic, partition: 0, offset: '10', metadata: 'halfway' }])
  await first.leave()
  const [{ partitions: [committed] }] = await admin.fetchOffsets({ groupId: group, topics: [topic] })
  assert.deepEqual([committed.offset, committed.metadata], ['10', 'halfway'])
  const second = await Member.join(group, topic, { run: { autoCommit: true } })
  assert.deepEqual(values(await second.has(10)), numbered(10, 10))
  await second.leave()
  const [{ partitions: [end] }] = await admin.fetchOffsets({ groupId: group, topics: [topic] })
  assert.equal(end.offset, '20')
})

scenario('offsets are found by time, and set', async () => {
  const [topic, group] = [await create({ numPartitions: 1 }), fresh('group')]
  const client = kafka.producer()
  await client.connect()
  const messages = numbered(10).map(value => ({ value, timestamp: String(1000 * (Number(value) + 1)) }))
  await client.send({ topic, messages })
  await client.disconnect()
  const at = async time => (await admin.fetchTopicOffsetsByTimestamp(topic, time))[0].offset
  assert.deepEqual([await at(1), await at(3000), await at(3001), await at(10000)], ['0', '2', '3', '9'])
  const [ends] = await admin.fetchTopicOffsets(topic)
  assert.deepEqual([ends.low, ends.high], ['0', '10'])
  await admin.setOffsets({ groupId: group, topic, partitions: [{ partition: 0, offset: '4' }] })
  const member = await Member.join(group, topic)
  assert.deepEqual(values(await member.has(6)), numbered(6, 4))
  await member.leave()
})

scenario('lag is the end less the committed offset', async () => {
  const [topic, groupId] = [await create(), fresh('group')]
  for (const partition of [0, 1, 2]) await produce(topic, numbered(10 * (partition + 1)), { partition })
  await admin.setOffsets({ groupId, topic, partitions: [0, 1, 2].map(partition => ({ partition, offset: '5' })) })
  const ends = Object.fromEntries((await admin.fetchTopicOffsets(topic)).map(end => [end.partition, end.high]))
  const [{ partitions }] = await admin.fetchOffsets({ groupId, topics: [topic] })
  const lags = partitions.sort((one, other) => one.partition - other.partition)
  assert.deepEqual(lags.map(({ partition, offset }) => ends[partition] - offset), [5, 15, 25])
})

scenario('the cluster is described', async () => {
  const { brokers, clusterId, controller } = await admin.describeCluster()
  assert.equal(clusterId.length, 22)
  assert.deepEqual(brokers.map(({ host, port }) => `${host}:${port}`).sort(), [...SERVERS].sort())
  assert(brokers.some(({ nodeId }) => nodeId === controller))
})

async function config(name, type = ConfigResourceTypes.TOPIC) {
  const { resources: [{ configEntries }] } =
    await admin.describeConfigs({ includeSynonyms: true, resources: [{ type, name }] })
  return Object.fromEntries(configEntries.map(entry => [entry.configName, entry.configValue]))
}

scenario('configs are described and altered', async () => {
  const topic = await create({ configEntries: [{ name: 'retention.ms', value: '1000000' }] })
  assert.equal((await config(topic))['cleanup.policy'], 'delete')
  const configEntries = [{ name: 'segment.bytes', value: '1048576' }]
  await admin.alterConfigs({ resources: [{ type: ConfigResourceTypes.TOPIC, name: topic, configEntries }] })
  await eventually(async () => (await config(topic))['segment.bytes'] === '1048576', 'the new value')
  assert.equal((await config(topic))['retention.ms'], '604800000')
  assert.equal((await config('1', ConfigResourceTypes.BROKER))['auto.create.topics.enable'], 'false')
})

scenario('a topic gets more partitions', async () => {
  const topic = await create()
  await admin.createPartitions({ topicPartitions: [{ topic, count: 5 }] })
  const ledPartitions = async () => (await admin.fetchTopicMetadata({ topics: [topic] })).topics[0].partitions
  await eventually(async () => (await ledPartitions()).filter(one => one.leader >= 0).length === 5, 'five partitions')
  await produce(topic, numbered(3), { partition: 4 })
  assert.deepEqual((await readAll(topic, 3)).map(message => message.partition), [4, 4, 4])
  await refused('INVALID_PARTITIONS', admin.createPartitions({ topicPartitions: [{ topic, count: 2 }] }))
})

scenario('records are deleted up to an offset', async () => {
  const topic = await create({ numPartitions: 1 })
  await produce(topic, numbered(20))
  assert.equal((await admin.fetchTopicOffsets(topic))[0].low, '0')
  await admin.deleteTopicRecords({ topic, partitions: [{ partition: 0, offset: '12' }] })
  assert.equal((await admin.fetchTopicOffsets(topic))[0].low, '12')
  assert.deepEqual(values(await readAll(topic, 8)), numbered(8, 12))
})

scenario('groups are listed, described and deleted', async () => {
  const [topic, group] = [await create(), fresh('group')]
  const member = await (await Member.join(group, topic)).isAssigned(3)
  const { groups: [stable] } = await admin.describeGroups([group])
  assert.deepEqual([stable.errorCode, stable.state, stable.protocolType], [0, 'Stable', 'consumer'])
  const { assignment } = AssignerProtocol.MemberAssignment.decode(stable.members[0].memberAssignment)
  assert.deepEqual(assignment[topic].sort(), [0, 1, 2])
  assert((await admin.listGroups()).groups.some(({ groupId }) => groupId === group))
  await refused('KafkaJSDeleteGroupsError', impatientAdmin(client => client.deleteGroups([group])))
  await member.leave()
  const { groups: [empty] } = await admin.describeGroups([group])
  assert.deepEqual([empty.state, empty.members], ['Empty', []])
  await admin.deleteGroups([group])
  assert(!(await admin.listGroups()).groups.some(({ groupId }) => groupId === group))
})

async function impatientAdmin(act) {
  const client = impatient.admin()
  await client.connect()
  return act(client).finally(() => client.disconnect())
}

scenario('a topic is deleted and made anew', async () => {
  const topic = await create({ numPartitions: 1 })
  const isGone = async () => !(await admin.listTopics()).includes(topic)
  await produce(topic, numbered(5))
  await admin.deleteTopics({ topics: [topic] })
  await eventually(isGone, 'it is gone')
  await admin.createTopics({ waitForLeaders: true, topics: [{ topic, numPartitions: 1, replicationFactor: 1 }] })
  const [placed] = await produce(topic, ['anew'])
  assert.equal(placed.baseOffset, '0')
  assert.deepEqual(values(await readAll(topic, 1)), ['anew'])
  await admin.deleteTopics({ topics: [topic] })
  await eventually(isGone, 'it is gone again')
  await refused('UNKNOWN_TOPIC_OR_PARTITION', impatientAdmin(client => client.deleteTopics({ topics: [topic] })))
})

scenario('what cannot be created is refused', async () => {
  const topic = await create()
  const creation = wanted => impatientAdmin(client => client.createTopics({ topics: [wanted] }))
  assert.equal(await admin.createTopics({ topics: [{ topic, numPartitions: 1 }] }), false)
  await refused('INVALID_TOPIC_EXCEPTION', creation({ topic: 'with space', numPartitions: 1 }))
  await refused('INVALID_TOPIC_EXCEPTION', creation({ topic: 'x'.repeat(250), numPartitions: 1 }))
  await refused('INVALID_REPLICATION_FACTOR', creation({ topic: fresh('topic'), replicationFactor: 100 }))
  const configEntries = [{ name: 'retention.ms', value: 'often' }]
  await refused('INVALID_CONFIG', creation({ topic: fresh('topic'), configEntries }))
})

scenario('a topic that nobody created is unknown', async () => {
  const client = impatient.producer()
  await client.connect()
  await refused('UNKNOWN_TOPIC_OR_PARTITION', client.send({ topic: fresh('topic'), messages: [{ value: 'v' }] }))
  await client.disconnect()
})

scenario('a message that is too large is refused and the next is not', async () => {
  const topic = await create({ numPartitions: 1, configEntries: [{ name: 'max.message.bytes', value: '10000' }] })
  const client = impatient.producer()
  await client.connect()
  await refused('MESSAGE_TOO_LARGE', client.send({ topic, messages: [{ value: 'x'.repeat(20000) }] }))
  await client.send({ topic, messages: [{ value: 'small' }] })
  await client.disconnect()
  assert.deepEqual(values(await readAll(topic, 1)), ['small'])
})

async function main() {
  await zstd.init()
  await admin.connect()
  const asked = process.argv.slice(2, -1)
  const failed = []
  for (const [name, body] of scenarios) {
    if (asked.length > 0 && !asked.includes(name)) continue
    const began = Date.now()
    const outcome = await body().then(() => 'ok', error => (console.log(error.stack), failed.push(name), 'FAILED'))
    console.log(`${outcome.padEnd(6)} ${((Date.now() - began) / 1000).toFixed(1).padStart(5)}s ${name}`)
  }
  if (failed.length > 0) console.log(`failed: ${failed.join(', ')}`)
  process.exit(failed.length > 0 ? 1 : 0)
}

main()
