import { testReloads } from './reloads.js';

testReloads('reuseport');
