import { testReloads } from './reloads.js';

testReloads('boss');
